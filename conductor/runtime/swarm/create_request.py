"""Converts a container specification into the body of `POST /services/create` (Engine API, v1.41; pure)."""

import hashlib
import re
from typing import Any, Final

from conductor.definitions.grammar import tmpfs_mount
from conductor.definitions.scalars import Secret
from conductor.errors import ConductorError
from conductor.plan import labels
from conductor.plan.container_spec import ContainerSpec, unmounted
from conductor.plan.release import Image
from conductor.runtime.docker.create_request import mount

IMAGE: Final = "conductor.image"  # the label with the image id: the specification may have a digest instead
PINNED: Final = "conductor.node"  # the label with the only node of a replica
RESTART_SECONDS: Final = 5.0  # after an exit, as in the backoff of supervise on a single host
MAX_NAME: Final = 63  # characters of a service's name, which must also be valid in the DNS
_BILLION: Final = 10**9


def service_name(name: str) -> str:
    """Return the name of the service for a replica: `name`, or a form of it that Swarm accepts."""
    valid = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    if valid == name and len(name) <= MAX_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{valid[: MAX_NAME - len(digest) - 1]}-{digest}"


def refuse_volumes(image: Image, spec: ContainerSpec) -> None:
    """Refuse an image with a `VOLUME` at which nothing is mounted."""
    if paths := unmounted(image.volumes, spec.volumes, spec.tmpfs):
        raise ConductorError(
            f"cannot create service {spec.name}: its image declares a VOLUME at {', '.join(paths)}, but nothing is mounted there",
            "mount a volume or a tmpfs there: another node would start with an empty one",
        )


def create_request(spec: ContainerSpec, image: str, nodes: int, node: str = "") -> dict[str, Any]:
    """Return the body of the request for a replica that has not been started. It contains secrets in plain text, which Swarm
    stores with the service. `image` is its name in a registry with a digest, or an image id, which every node must have. `nodes`
    is the number of those that can run a replica now, `node` the only one that may run a pinned one."""
    environment = {k: v.reveal() if isinstance(v, Secret) else v for k, v in spec.environment.items()}
    container = _set(
        Image=image,
        Command=spec.entrypoint,
        Args=spec.command,
        Hostname=spec.hostname,
        Env=[f"{name}={value}" for name, value in environment.items()],
        Labels=spec.labels,
        User=spec.user,
        Dir=spec.workdir,
        StopSignal=spec.stop.signal,
        Mounts=[*map(mount, spec.volumes), *map(_tmpfs, spec.tmpfs), *_shared_memory(spec)],
        Init=spec.init,
        ReadOnly=spec.read_only,
        CapabilityAdd=spec.cap_add,
        CapabilityDrop=spec.cap_drop,
        Sysctls=spec.sysctls,
        DNSConfig=_set(Nameservers=spec.dns.servers, Search=spec.dns.search, Options=spec.dns.options),
        Ulimits=[{"Name": name, "Soft": limit.soft, "Hard": limit.hard} for name, limit in spec.ulimits.items()],
        Hosts=[f"{address} {name}" for name, address in spec.extra_hosts.items()],
    )
    limits = _set(
        MemoryBytes=spec.memory, NanoCPUs=int(spec.cpus * _BILLION) if spec.cpus else None, Pids=spec.pids_limit
    )
    return {
        "Name": service_name(spec.name),
        "Labels": {**spec.labels, IMAGE: spec.image_id, **({PINNED: node} if node else {})},
        "Mode": {"Replicated": {"Replicas": 0}},
        "TaskTemplate": _set(
            ContainerSpec={**container, "StopGracePeriod": int(spec.stop.grace * _BILLION)},
            Resources=_set(Limits=limits),
            RestartPolicy={"Condition": "any", "Delay": int(RESTART_SECONDS * _BILLION)},
            Placement={"Constraints": [f"node.hostname=={node}"]} if node else None,
            LogDriver={"Name": spec.logging.driver, "Options": spec.logging.options},
            Networks=[_set(Target=one.name, Aliases=one.aliases) for one in spec.joined],
        ),
        "EndpointSpec": _set(Ports=_ports(spec, nodes)),
    }


def _ports(spec: ContainerSpec, nodes: int) -> list[dict[str, Any]]:
    """Return the port of a replica, and one that it shares with others that start with it: Swarm never runs two tasks with the
    same port of this mode on one node. They need one node less than there are, which leaves a place when a node is lost.

    The app does not listen at the shared port inside: of two ports for one port inside, Swarm publishes only the last.
    """
    if (
        spec.pinned
    ):  # a port also if nothing listens: Docker starts no second task of it on its node while one has the port
        own = int(spec.labels[labels.ADDRESS].rpartition(":")[2])
        return [_port(own, spec.publish[0] if spec.publish else own)]
    if spec.publish is None:
        return []
    inside, own = spec.publish
    apart, size = spec.apart or (own,), max(1, nodes - 1)
    shared = apart[apart.index(own) // size * size]
    ports = {own: inside} if shared == own else {own: inside, shared: shared}
    return [_port(outside, target) for outside, target in ports.items()]


def _port(outside: int, inside: int) -> dict[str, Any]:
    return {"Protocol": "tcp", "TargetPort": inside, "PublishedPort": outside, "PublishMode": "host"}


def _tmpfs(written: str) -> dict[str, Any]:
    """Of the mount options, Swarm has the size and the mode; a definition with others is refused before."""
    path, options = tmpfs_mount(written)
    values = dict(option.partition("=")[::2] for option in options.split(","))
    chosen = _set(SizeBytes=_bytes(values.get("size", "")), Mode=int(values.get("mode", "0"), 8) or None)
    return {"Type": "tmpfs", "Target": path, **_set(TmpfsOptions=chosen)}


def _bytes(text: str) -> int | None:
    unit = {"k": 2**10, "m": 2**20, "g": 2**30}.get(text[-1:].lower())
    return int(text[:-1]) * unit if unit else int(text or 0) or None


def _shared_memory(spec: ContainerSpec) -> list[dict[str, Any]]:
    """Swarm has no setting for the size of `/dev/shm`."""
    if not spec.shm_size:
        return []
    return [{"Type": "tmpfs", "Target": "/dev/shm", "TmpfsOptions": {"SizeBytes": spec.shm_size}}]  # noqa: S108 (a path in the container)


def _set(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, (), [], {}, False)}
