"""Converts the daemon's responses into Conductor's values. Shapes as in the Engine API, v1.41 to v1.45."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from conductor.clock import seconds_between
from conductor.plan import labels
from conductor.plan.garbage import LocalImage
from conductor.plan.release import Image
from conductor.plan.replica import Containers, ContainerState, Replica, TaskContainer
from conductor.runtime.docker.dialect import DOCKER, Dialect, api_numbers
from conductor.runtime.docker.shapes import (
    Info,
    InspectedContainer,
    InspectedImage,
    ListedContainer,
    ListedImage,
    Version,
)
from conductor.runtime.port import Daemon

NEWEST_API = "1.45"  # of Docker 26.1, the newest one of a release of Debian
_INTERNAL = "unable to start container process: "  # before this, the daemon's message names its internal layers
_CAPITAL = re.compile(r"(?<=: )[A-Z](?=[a-z])")
_NUMBER = re.compile(r"\d{1,12}(\.\d+)?")
_CRUN = (
    "crun: "  # the same of Podman, whose own constant follows the message of the system, which begins with a capital
)


def message(text: str) -> str:
    """Return an error message of the daemon without the names of its internal layers."""
    _, crun, cause = text.rpartition(_CRUN)
    if crun:
        return _CAPITAL.sub(lambda found: found[0].lower(), cause.rpartition(": OCI ")[0] or cause).strip()
    return text.rpartition(_INTERNAL)[2].strip().rstrip(".").removesuffix(": unknown")


def read_frames(stream: Any, left: Callable[[], float], max_bytes: int) -> bytes:
    """Return the last `max_bytes` bytes of a command's output. Raise `TimeoutError` when `left()` reaches 0 seconds."""
    raw: Any = getattr(stream, "_sock", stream)
    received = output = b""
    try:
        while True:
            if (seconds := left()) <= 0:
                raise TimeoutError
            raw.settimeout(seconds)
            data: bytes = raw.recv(65536)
            received += data
            while len(received) >= (end := _frame_bytes(received)):
                output = (output + received[8:end])[-max_bytes:]
                received = received[end:]
            if not data:
                break
    finally:
        # The SDK's response first: it reads from the socket, and Python 3.13 prints an error when it finds that closed.
        getattr(stream, "_response", stream).close()
        stream.close()
        raw.close()
    return (output + received[8:])[-max_bytes:]


def _frame_bytes(received: bytes) -> int:
    """Return the length of the first frame, or that of a header while the header is incomplete."""
    return 8 + int.from_bytes(received[4:8]) if len(received) >= 8 else 8


def frames(received: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield stream number (1 stdout, 2 stderr) and data of each frame. The last one may be incomplete.

    A frame is a header of 8 bytes (stream number, three zeros, size as four bytes), then the data.
    """
    at = 0
    while at + 8 <= len(received):
        size = int.from_bytes(received[at + 4 : at + 8], "big")
        yield received[at], received[at + 8 : at + 8 + size]
        at += 8 + size


def image(found: InspectedImage, reference: str) -> Image:
    """Return an inspected image. Of several digests, take the one of the repository in `reference`."""
    repository = reference.rpartition(":")[0]
    digests = found.repo_digests or [""]
    volumes = tuple(sorted((found.config and found.config.volumes) or ()))
    digest = next((d for d in digests if d.partition("@")[0] == repository), digests[0])
    return Image(found.id, digest, volumes, found.size)


def daemon(info: Info, version: Version, *, local: bool, dialect: Dialect = DOCKER) -> Daemon:
    """Return the daemon of the responses to `/info` and `/version`."""
    return Daemon(
        product=dialect.product,
        version=version.version,
        required=dialect.required,
        supported=dialect.supports(version),
        keeps_containers=dialect.keeps_containers or info.live_restore_enabled,
        data_dir=info.docker_root_dir if local else "",
        time=info.system_time,
    )


def negotiated(version: Version) -> str:
    """Return the version of the API to use with the daemon of this response to `/version`.

    It is the newest one that both sides know. For a daemon that knows only newer ones, it is the daemon's oldest.
    """
    return max(min(version.api_version, NEWEST_API, key=api_numbers), version.min_api_version, key=api_numbers)


def local_images(images: Sequence[ListedImage], containers: Iterable[ListedContainer]) -> tuple[LocalImage, ...]:
    """Return the daemon's list of images. `containers` are those of the whole host."""
    used = {row.image_id for row in containers} | {row.parent_id for row in images}
    return tuple(
        LocalImage(
            id=row.id,
            references=tuple(
                name for name in (*(row.repo_tags or ()), *(row.repo_digests or ())) if "<none>" not in name
            ),
            bytes=row.size,
            in_use=row.id in used,
        )
        for row in images
    )


def containers(listed: Iterable[ListedContainer]) -> Containers:
    """Return the rows of the daemon's list of containers: replicas and tasks, each sorted by name.

    A container with another name than its label's inherited its labels from an image. Earlier versions set no such label.
    """
    rows = sorted((row for row in listed if _label(row, labels.NAME) in {"", _name(row)}), key=_name)
    replicas = tuple(_replica(row) for row in rows if _label(row, labels.KIND) == "service")
    return Containers(replicas, tuple(_task(row) for row in rows if _label(row, labels.KIND) != "service"))


def _replica(row: ListedContainer) -> Replica:
    return Replica(
        id=row.id,
        name=_name(row),
        service=_label(row, labels.SERVICE),
        revision=_label(row, labels.REVISION),
        release=_label(row, labels.RELEASE),
        change=_label(row, labels.CHANGE),
        address=_label(row, labels.ADDRESS),
        state=row.state,
        created=row.created,
        image_id=row.image_id,
    )


def _task(row: ListedContainer) -> TaskContainer:
    return TaskContainer(
        id=row.id,
        name=_name(row),
        service=_label(row, labels.SERVICE),
        revision=_label(row, labels.REVISION),
        kind=_label(row, labels.KIND),  # type: ignore[arg-type]
        change=_label(row, labels.CHANGE),
        state=row.state,
        job=_label(row, labels.JOB),
        created=row.created,
        deadline=_deadline(_label(row, labels.DEADLINE)),
    )


def _deadline(written: str) -> float | None:
    """Anybody who can start a container can give it this label."""
    return float(written) if _NUMBER.fullmatch(written) else None


def _name(row: ListedContainer) -> str:
    return row.names[0].lstrip("/")


def _label(row: ListedContainer, name: str) -> str:
    return (row.labels or {}).get(name, "")


def ips(found: InspectedContainer) -> list[str]:
    """Return the IPv4 addresses of an inspected container."""
    return [one.ip_address for one in found.network_settings.networks.values() if one.ip_address]


def event_exit_code(attributes: Mapping[str, str]) -> int | None:
    """Return the exit code among the attributes of an event; None if it has none."""
    code = attributes.get("exitCode", "")
    return int(code) if code.isascii() and code.isdigit() else None


def container_state(found: InspectedContainer) -> ContainerState:
    """Return an inspected container. Its address is the one it has now, which may differ from the requested one."""
    state, settings = found.state, found.network_settings
    label = (found.config.labels or {}).get(labels.ADDRESS, "")
    own = settings.networks.get(found.host_config.network_mode)  # the container may have joined others
    found_ips = [own.ip_address] if own and own.ip_address else ips(found)
    bound = [f"{one.host_ip}:{one.host_port}" for ports in (settings.ports or {}).values() for one in ports or ()]
    _, colon, port = label.partition(":")
    return ContainerState(
        running=state.running,
        exit_code=None if state.running else state.exit_code,
        out_of_memory=state.oom_killed,
        address=next(iter(bound), f"{found_ips[0]}{colon}{port}" if found_ips else ""),
        error=state.error,
        since=max(state.finished_at, found.created),  # FinishedAt is in the year 1 until it exits
        start_delay=_start_delay(found.created, state.started_at),
    )


def _start_delay(created: str, started: str) -> float:
    """StartedAt is in the year 1 until it starts."""
    return max(0.0, seconds_between(created, started)) if created and started else 0.0
