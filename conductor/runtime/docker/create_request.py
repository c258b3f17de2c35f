"""Converts a container specification into the body of `POST /containers/create` (Engine API, v1.41; pure)."""

from collections.abc import Sequence
from typing import Any

from conductor.definitions.grammar import tmpfs_mount
from conductor.definitions.scalars import Secret
from conductor.plan import labels
from conductor.plan.container_spec import ContainerSpec, is_file


def create_request(spec: ContainerSpec, image_volumes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the body of the request. It contains secrets in plain text and is sent only to the daemon.

    Each path of `image_volumes` gets a named volume, because Docker does not remove that volume with the container.
    Unset fields are left out, so that the image's own settings apply.
    """
    environment = {k: v.reveal() if isinstance(v, Secret) else v for k, v in spec.environment.items()}
    return _set(
        Image=spec.image_id,
        Cmd=spec.command,
        Entrypoint=spec.entrypoint,
        Env=[f"{name}={value}" for name, value in environment.items()],
        Labels=spec.labels,
        User=spec.user,
        WorkingDir=spec.workdir,
        StopSignal=spec.stop.signal,
        Tty=spec.tty,
        OpenStdin=spec.stdin,
        StdinOnce=spec.stdin,
        ExposedPorts={f"{spec.publish[0]}/tcp": {}} if spec.publish else None,
        HostConfig=_host_config(spec, image_volumes),
        NetworkingConfig={
            "EndpointsConfig": {spec.network: {"IPAMConfig": {"IPv4Address": spec.ip} if spec.ip else None}}
        },
    )


def _host_config(spec: ContainerSpec, image_volumes: Sequence[str]) -> dict[str, Any]:
    bound = (
        {f"{spec.publish[0]}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(spec.publish[1])}]} if spec.publish else {}
    )
    return _set(
        NetworkMode=spec.network,
        RestartPolicy={"Name": "no"},  # Conductor restarts containers; two owners would interfere
        PortBindings=bound,
        # Docker creates the missing source of a bind as a directory, and refuses the missing source of a mount.
        Binds=tuple(volume for volume in spec.volumes if not is_file(volume)),
        Mounts=[
            *(_mount(volume) for volume in spec.volumes if is_file(volume)),
            *(_named_volume(spec, number, path) for number, path in enumerate(image_volumes, 1)),
        ],
        Tmpfs=dict(map(tmpfs_mount, spec.tmpfs)),
        Memory=spec.memory,
        NanoCpus=int(spec.cpus * 1e9) if spec.cpus else None,
        ShmSize=spec.shm_size,
        Init=spec.init,
        ReadonlyRootfs=spec.read_only,
        CapAdd=spec.cap_add,
        CapDrop=spec.cap_drop,
        Ulimits=[{"Name": name, "Soft": limit.soft, "Hard": limit.hard} for name, limit in spec.ulimits.items()],
        ExtraHosts=[f"{name}:{address}" for name, address in spec.extra_hosts.items()],
        LogConfig={"Type": spec.logging.driver, "Config": spec.logging.options},
    )


def _mount(volume: str) -> dict[str, Any]:
    source, target, *options = volume.split(":")
    return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": "ro" in options}


def _named_volume(spec: ContainerSpec, number: int, path: str) -> dict[str, Any]:
    kept = {name: spec.labels[name] for name in (labels.INSTANCE, labels.SERVICE, labels.REVISION)}
    volume = {"Type": "volume", "Source": f"{spec.name}-volume-{number}", "Target": path}
    return {**volume, "VolumeOptions": {"Labels": kept}}


def _set(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, (), [], {}, False)}
