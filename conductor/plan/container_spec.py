"""The full specification of one container: replicas and tasks are both created from it (pure)."""

from collections.abc import Iterable

import msgspec

from conductor.definitions.grammar import tmpfs_mount
from conductor.definitions.model import Definition, Logging, Stop, Ulimit
from conductor.definitions.scalars import Secret
from conductor.plan import labels
from conductor.plan.release import Release
from conductor.plan.replica import Kind


def is_file(volume: str) -> bool:
    """True when the source of a volume (`SOURCE:TARGET[:ro]`) has the name of a file: its last part has a suffix."""
    last = volume.partition(":")[0].rpartition("/")[2]
    return volume.startswith("/") and "." in last.lstrip(".")


def unmounted(paths: Iterable[str], volumes: Iterable[str], tmpfs: Iterable[str]) -> tuple[str, ...]:
    """Return those `VOLUME` paths of an image at which a container mounts nothing."""
    mounted = [*(one.split(":")[1] for one in volumes), *(tmpfs_mount(one)[0] for one in tmpfs)]
    targets = {target.rstrip("/") for target in mounted}
    return tuple(path for path in paths if path.rstrip("/") not in targets)


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What the runtime creates. `ip` is a fixed address on the network, `publish` is (container port, host port). `tty` and
    `stdin` are for a client that attaches."""

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
    volumes: tuple[str, ...]
    tmpfs: tuple[str, ...]
    cap_add: tuple[str, ...]
    cap_drop: tuple[str, ...]
    ulimits: dict[str, Ulimit]
    extra_hosts: dict[str, str]
    ip: str | None = None
    publish: tuple[int, int] | None = None
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
) -> ContainerSpec:
    """Return the specification of a container of `release`, created by `change`.

    `name` is the last part of its name. `address` is `IP:PORT`, `IP` (without a port), or empty for a container without a
    fixed address. `command` replaces the service's.
    """
    service = definition.service
    host, _, port = address.partition(":")
    published = service.publish is not None and bool(address)
    return ContainerSpec(
        name=f"{definition.id}-{release.revision[:12]}-{change}-{name}",
        image_id=release.image_id,
        network=network,
        labels={
            **service.labels,
            labels.INSTANCE: instance,
            labels.SERVICE: definition.id,
            labels.REVISION: release.revision,
            labels.KIND: kind,
            labels.DEFINITION: definition.digest,
            labels.RELEASE: release.id,
            labels.CHANGE: change,
            labels.ADDRESS: address,
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
        cap_add=service.cap_add,
        cap_drop=service.cap_drop,
        ulimits=service.ulimits,
        extra_hosts=service.extra_hosts,
        ip=host if address and not published else None,
        publish=(service.port, int(port)) if published and service.port else None,
    )
