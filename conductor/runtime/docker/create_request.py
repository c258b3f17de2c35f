"""Converts a container specification into the body of `POST /containers/create` (Engine API, v1.41; pure)."""

from typing import Any

from conductor.definitions.grammar import tmpfs_mount
from conductor.definitions.scalars import Secret
from conductor.plan.container_spec import ContainerSpec


def create_request(spec: ContainerSpec) -> dict[str, Any]:
    """Return the body of the request. It contains secrets in plain text and is sent only to the daemon.

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
        HostConfig=_host_config(spec),
        NetworkingConfig={
            "EndpointsConfig": {spec.network: {"IPAMConfig": {"IPv4Address": spec.ip} if spec.ip else None}}
        },
    )


def _host_config(spec: ContainerSpec) -> dict[str, Any]:
    bound = (
        {f"{spec.publish[0]}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(spec.publish[1])}]} if spec.publish else {}
    )
    return _set(
        NetworkMode=spec.network,
        RestartPolicy={"Name": "no"},  # Conductor restarts containers; two owners would interfere
        PortBindings=bound,
        Binds=spec.volumes,
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


def _set(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, (), [], {}, False)}
