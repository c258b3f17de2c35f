"""Converts a container specification into the body of `POST /containers/create` (Engine API, v1.41; pure)."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from conductor.definitions.grammar import tmpfs_mount
from conductor.definitions.model import JoinedNetwork, Mount
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
        Hostname=spec.hostname,
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
            "EndpointsConfig": {
                spec.network: {
                    "IPAMConfig": {"IPv4Address": spec.ip} if spec.ip else None,
                    **({"Aliases": spec.aliases} if spec.aliases else {}),
                }
            }
        },
    )


def connect_request(network: JoinedNetwork, container: str) -> dict[str, Any]:
    """Return the body of `POST /networks/NAME/connect`: v1.41 accepts only one network when a container is created."""
    return {"Container": container, "EndpointConfig": _set(Aliases=network.aliases)}


def _host_config(spec: ContainerSpec, image_volumes: Sequence[str]) -> dict[str, Any]:
    bound = (
        {f"{spec.publish[0]}/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(spec.publish[1])}]} if spec.publish else {}
    )
    return _set(
        NetworkMode=spec.network,
        RestartPolicy={"Name": "no"},  # Conductor restarts containers; two owners would interfere
        PortBindings=bound,
        # Docker creates the missing source of a bind as a directory, and refuses the missing source of a mount.
        Binds=tuple(volume for volume in spec.volumes if isinstance(volume, str) and not is_file(volume)),
        Mounts=[
            *_mounts(spec.volumes),
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
        Devices=[_device(device) for device in spec.devices],
        SecurityOpt=spec.security_opt,
        Sysctls=spec.sysctls,
        PidsLimit=spec.pids_limit,
        Dns=spec.dns.servers,
        DnsSearch=spec.dns.search,
        DnsOptions=spec.dns.options,
        Ulimits=[{"Name": name, "Soft": limit.soft, "Hard": limit.hard} for name, limit in spec.ulimits.items()],
        ExtraHosts=[f"{name}:{address}" for name, address in spec.extra_hosts.items()],
        LogConfig={"Type": spec.logging.driver, "Config": spec.logging.options},
    )


def _mounts(volumes: Iterable[str | Mount]) -> Iterator[dict[str, Any]]:
    """Yield the volumes in long form, and the files among those in short form."""
    return (mount(one) for one in volumes if isinstance(one, Mount) or is_file(one))


def mount(volume: str | Mount) -> dict[str, Any]:
    """Return a volume as a mount, whose source must exist if it is a path."""
    if isinstance(volume, Mount):
        options = _set(
            BindOptions=_set(Propagation=volume.bind.propagation) if volume.bind else None,
            VolumeOptions=_set(NoCopy=volume.volume.nocopy) if volume.volume else None,
        )
        kind, source, target, read_only = volume.type, volume.source, volume.target, volume.read_only
    else:
        source, target, written = (*volume.split(":"), "")[:3]
        words = written.split(",")
        kind, read_only = "bind" if source.startswith("/") else "volume", "ro" in words
        propagation = next((word for word in words if word not in {"", "ro", "rw"}), None)
        options = _set(BindOptions=_set(Propagation=propagation)) if kind == "bind" else {}
    return {"Type": kind, "Source": source, "Target": target, "ReadOnly": read_only, **options}


def _device(written: str) -> dict[str, str]:
    """Return a device of `PATH[:TARGET][:PERMISSIONS]`; by default it has its own path and all permissions."""
    source, *rest = written.split(":")
    target = next((word for word in rest if word.startswith("/")), source)
    permissions = next((word for word in rest if not word.startswith("/")), "rwm")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": permissions}


def _named_volume(spec: ContainerSpec, number: int, path: str) -> dict[str, Any]:
    kept = {name: spec.labels[name] for name in (labels.INSTANCE, labels.SERVICE, labels.REVISION)}
    volume = {"Type": "volume", "Source": f"{spec.name}-volume-{number}", "Target": path}
    return {**volume, "VolumeOptions": {"Labels": kept}}


def volume_labels(request: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the labels of the volumes that a request creates, by their names."""
    mounts = request["HostConfig"].get("Mounts", ())
    return {one["Source"]: kept for one in mounts if (kept := one.get("VolumeOptions", {}).get("Labels"))}


def _set(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, (), [], {}, False)}
