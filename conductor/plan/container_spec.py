"""The full specification of one container: replicas and tasks are both created from it (pure)."""

from collections.abc import Iterable, Sequence

import msgspec

from conductor.definitions.grammar import tmpfs_mount
from conductor.definitions.hardening import dropped_capabilities, process_limit, security_options
from conductor.definitions.model import Definition, Dns, JoinedNetwork, Logging, Mount, Stop, Ulimit, mount_target
from conductor.definitions.scalars import Secret
from conductor.plan import labels
from conductor.plan.release import Release
from conductor.plan.replica import Kind


def is_file(volume: str) -> bool:
    """True when the source of a volume (`SOURCE:TARGET[:ro]`) has the name of a file: its last part has a suffix."""
    last = volume.partition(":")[0].rpartition("/")[2]
    return volume.startswith("/") and "." in last.lstrip(".")


def required_source(volume: str | Mount) -> str | None:
    """Return the path that must exist on the host; None if Docker creates the source when it is missing."""
    if isinstance(volume, Mount):
        return volume.source if volume.type == "bind" else None
    return volume.partition(":")[0] if is_file(volume) else None


def unmounted(paths: Iterable[str], volumes: Iterable[str | Mount], tmpfs: Iterable[str]) -> tuple[str, ...]:
    """Return those `VOLUME` paths of an image at which a container mounts nothing."""
    mounted = [*map(mount_target, volumes), *(tmpfs_mount(one)[0] for one in tmpfs)]
    targets = {target.rstrip("/") for target in mounted}
    return tuple(path for path in paths if path.rstrip("/") not in targets)


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the runtime creates. `ip` is a fixed address on the network, `publish` is (container port, host port). In a fleet,
    `apart` are the host ports of all replicas that start with this one, which should run on different nodes; `pinned`: the service stays on
    one node. `tty` and `stdin` are for a client that attaches. `aliases` are more names on the network, `joined` are existing networks besides it."""

    name: str
    image_id: str
    network: str
    labels: dict[str, str]
    environment: dict[str, str | Secret]
    command: tuple[str, ...] | None
    entrypoint: tuple[str, ...] | None
    workdir: str | None
    user: str | None
    stop: Stop
    logging: Logging
    memory: int | None
    cpus: float | None
    shm_size: int | None
    init: bool
    read_only: bool
    volumes: tuple[str | Mount, ...]
    tmpfs: tuple[str, ...]
    devices: tuple[str, ...]
    cap_add: tuple[str, ...]
    cap_drop: tuple[str, ...]
    security_opt: tuple[str, ...]
    sysctls: dict[str, str]
    pids_limit: int | None
    ulimits: dict[str, Ulimit]
    hostname: str | None
    dns: Dns
    extra_hosts: dict[str, str]
    joined: tuple[JoinedNetwork, ...]
    aliases: tuple[str, ...] = ()
    ip: str | None = None
    publish: tuple[int, int] | None = None
    apart: tuple[int, ...] = ()
    pinned: bool = False
    tty: bool = False
    stdin: bool = False


def container_spec(
    definition: Definition,
    release: Release,
    environment: dict[str, str | Secret],
    *,
    instance: str,
    network: str,
    kind: Kind,
    change: str,
    name: str,
    address: str = "",
    command: tuple[str, ...] | None = None,
    together: Sequence[str] = (),
) -> ContainerSpec:
    """Return the specification of a container of `release`, created by `change`.

    `name` is the last part of its name. `address` is `IP:PORT`, `IP` (without a port), `:PORT` (a port of whichever node runs
    it), or empty for a container without a fixed address. `command` replaces the service's. `together` are the addresses of all
    replicas that start with this one.
    """
    service = definition.service
    host, _, port = address.partition(":")
    published = bool(address) and (service.publish is not None or not host)
    joined = [JoinedNetwork(name=one) if isinstance(one, str) else one for one in service.networks]
    full_name = f"{definition.id}-{release.revision[:12]}-{change}-{name}"
    return ContainerSpec(
        name=full_name,
        image_id=release.image_id,
        network=network,
        labels={
            **service.labels,
            labels.INSTANCE: instance,
            labels.NAME: full_name,
            labels.SERVICE: definition.id,
            labels.REVISION: release.revision,
            labels.KIND: kind,
            labels.DEFINITION: definition.digest,
            labels.RELEASE: release.id,
            labels.CHANGE: change,
            labels.ADDRESS: address,
            labels.JOB: "",  # an image may have any label, and a container inherits it
            labels.DEADLINE: "",
        },
        environment=environment,
        command=command or service.command,
        entrypoint=service.entrypoint,
        workdir=service.workdir,
        user=service.user,
        stop=service.stop,
        logging=service.logging,
        memory=service.memory,
        cpus=service.cpus,
        shm_size=service.shm_size,
        init=service.init,
        read_only=service.read_only,
        volumes=service.volumes,
        tmpfs=service.tmpfs,
        devices=service.devices,
        cap_add=service.cap_add,
        cap_drop=dropped_capabilities(service),
        security_opt=security_options(service),
        sysctls=service.sysctls,
        pids_limit=process_limit(service),
        ulimits=service.ulimits,
        hostname=service.hostname,
        dns=service.dns,
        extra_hosts=service.extra_hosts,
        joined=tuple(one for one in joined if one.name != network),
        aliases=tuple(alias for one in joined if one.name == network for alias in one.aliases),
        ip=host if address and not published else None,
        publish=(service.port, int(port)) if published and service.port else None,
        pinned=service.order == "stop-first",
        apart=tuple(int(one[1:]) for one in together if one.startswith(":")),
    )
