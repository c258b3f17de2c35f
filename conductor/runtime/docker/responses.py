"""What the daemon answers, as our values: the shapes are those of the Engine API, v1.41."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from conductor.plan.container_spec import LABEL
from conductor.plan.values import Container, ContainerState, Image


def read_frames(stream: Any, left: Callable[[], float]) -> bytes:
    """All that a command prints, to its end; `TimeoutError` when `left()` seconds are over.

    The daemon sends frames: 8 bytes of head, the size last, then data.
    """
    raw, received = getattr(stream, "_sock", stream), b""
    try:
        while True:
            raw.settimeout(max(left(), 0.001))
            data = raw.recv(65536)
            if not data:
                break
            received += data
    finally:
        stream.close()
        raw.close()
    return b"".join(data for _, data in frames(received))


def frames(received: bytes) -> Iterator[tuple[int, bytes]]:
    """Stream number (1 stdout, 2 stderr) and data of each frame; the last one may have been cut."""
    at = 0
    while at + 8 <= len(received):
        size = int.from_bytes(received[at + 4 : at + 8], "big")
        yield received[at], received[at + 8 : at + 8 + size]
        at += 8 + size


def in_background(stream: Callable[[], Iterable[dict[str, Any]]], tick: float) -> Iterator[dict[str, Any] | None]:
    """What `stream` yields or raises, read by a thread of its own; None whenever that is silent for `tick` seconds.

    Whoever stops listening leaves the thread to itself: it ends with the stream, and keeps no process alive.
    """
    read: queue.SimpleQueue[tuple[dict[str, Any] | None, BaseException | None]] = queue.SimpleQueue()

    def follow() -> None:
        try:
            for message in stream():
                read.put((message, None))
        except BaseException as error:  # noqa: BLE001 (raised where it is waited for)
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
    """An inspected image; of several registries' digests the one of the repository in `reference`."""
    repository = reference.rpartition(":")[0]
    digests = found.get("RepoDigests") or [""]
    return Image(found["Id"], next((d for d in digests if d.partition("@")[0] == repository), digests[0]))


def container(listed: dict[str, Any]) -> Container:
    """One row of the daemon's list."""
    labels = listed.get("Labels") or {}
    return Container(
        id=listed["Id"],
        name=listed["Names"][0].lstrip("/"),
        service=labels.get(LABEL + "service", ""),
        revision=labels.get(LABEL + "revision", ""),
        kind=labels.get(LABEL + "kind", ""),
        digest=labels.get(LABEL + "definition", ""),
        change=labels.get(LABEL + "upgrade", ""),
        address=labels.get(LABEL + "address", ""),
        image_id=listed["ImageID"],
        state=listed["State"],
        job=labels.get(LABEL + "job", ""),
        created=float(listed.get("Created", 0)),
    )


def container_state(found: dict[str, Any]) -> ContainerState:
    """An inspected container; its address is what the daemon says now, never what was asked for."""
    state, settings = found["State"], found["NetworkSettings"]
    label = (found["Config"].get("Labels") or {}).get(LABEL + "address", "")
    ips = [n["IPAddress"] for n in settings["Networks"].values() if n["IPAddress"]]
    bound = [f"{b['HostIp']}:{b['HostPort']}" for ports in (settings.get("Ports") or {}).values() for b in ports or ()]
    _, _, port = label.rpartition(":")
    return ContainerState(
        running=state["Running"],
        exit_code=None if state["Running"] else state["ExitCode"],
        out_of_memory=state["OOMKilled"],
        address=next(iter(bound), f"{ips[0]}:{port}" if ips else ""),
        error=state.get("Error", ""),
        since=max(state.get("FinishedAt", ""), found.get("Created", "")),  # the year 1 until it has ended
    )
