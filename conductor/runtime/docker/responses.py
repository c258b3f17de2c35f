"""Converts the daemon's responses into Conductor's values. Shapes as in the Engine API, v1.41."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from conductor.plan import labels
from conductor.plan.release import Image
from conductor.plan.replica import Containers, ContainerState, Replica, TaskContainer

_INTERNAL = "unable to start container process: "  # before this, the daemon's message names its internal layers


def message(text: str) -> str:
    """Return an error message of the daemon without the names of its internal layers."""
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


def in_background(stream: Callable[[], Iterable[dict[str, Any]]], tick: float) -> Iterator[dict[str, Any] | None]:
    """Yield what `stream` yields or raises, read by its own thread; yield None after each `tick` seconds of silence.

    A caller that stops early leaves the thread behind. It ends with the stream, and keeps no process alive.
    """
    read: queue.SimpleQueue[tuple[dict[str, Any] | None, BaseException | None]] = queue.SimpleQueue()

    def follow() -> None:
        try:
            for message in stream():
                read.put((message, None))
        except BaseException as error:  # noqa: BLE001 (raised again in the caller's thread)
            read.put((None, error))
        else:
            read.put((None, None))

    threading.Thread(target=follow, daemon=True).start()
    while True:
        try:
            message, error = read.get(timeout=tick)
        except queue.Empty:
            yield None
            continue
        if error is not None:
            raise error
        if message is None:
            return
        yield message


def image(found: dict[str, Any], reference: str) -> Image:
    """Return an inspected image. Of several digests, take the one of the repository in `reference`."""
    repository = reference.rpartition(":")[0]
    digests = found.get("RepoDigests") or [""]
    volumes = tuple(sorted((found.get("Config") or {}).get("Volumes") or ()))
    return Image(found["Id"], next((d for d in digests if d.partition("@")[0] == repository), digests[0]), volumes)


def containers(listed: Iterable[dict[str, Any]]) -> Containers:
    """Return the rows of the daemon's list of containers: replicas and tasks, each sorted by name."""
    rows = sorted(listed, key=_name)
    replicas = tuple(_replica(row) for row in rows if _label(row, labels.KIND) == "service")
    return Containers(replicas, tuple(_task(row) for row in rows if _label(row, labels.KIND) != "service"))


def _replica(row: dict[str, Any]) -> Replica:
    return Replica(
        id=row["Id"],
        name=_name(row),
        service=_label(row, labels.SERVICE),
        revision=_label(row, labels.REVISION),
        release=_label(row, labels.RELEASE),
        change=_label(row, labels.CHANGE),
        address=_label(row, labels.ADDRESS),
        state=row["State"],
        created=float(row.get("Created", 0)),
    )


def _task(row: dict[str, Any]) -> TaskContainer:
    return TaskContainer(
        id=row["Id"],
        name=_name(row),
        service=_label(row, labels.SERVICE),
        revision=_label(row, labels.REVISION),
        kind=_label(row, labels.KIND),  # type: ignore[arg-type]
        change=_label(row, labels.CHANGE),
        state=row["State"],
        job=_label(row, labels.JOB),
        created=float(row.get("Created", 0)),
        deadline=float(found) if (found := _label(row, labels.DEADLINE)) else None,
    )


def _name(row: dict[str, Any]) -> str:
    return str(row["Names"][0]).lstrip("/")


def _label(row: dict[str, Any], name: str) -> str:
    return str((row.get("Labels") or {}).get(name, ""))


def container_state(found: dict[str, Any]) -> ContainerState:
    """Return an inspected container. Its address is the one it has now, which may differ from the requested one."""
    state, settings = found["State"], found["NetworkSettings"]
    label = (found["Config"].get("Labels") or {}).get(labels.ADDRESS, "")
    ips = [n["IPAddress"] for n in settings["Networks"].values() if n["IPAddress"]]
    bound = [f"{b['HostIp']}:{b['HostPort']}" for ports in (settings.get("Ports") or {}).values() for b in ports or ()]
    _, colon, port = label.partition(":")
    return ContainerState(
        running=state["Running"],
        exit_code=None if state["Running"] else state["ExitCode"],
        out_of_memory=state["OOMKilled"],
        address=next(iter(bound), f"{ips[0]}{colon}{port}" if ips else ""),
        error=state.get("Error", ""),
        since=max(state.get("FinishedAt", ""), found.get("Created", "")),  # FinishedAt is in the year 1 until it exits
    )
