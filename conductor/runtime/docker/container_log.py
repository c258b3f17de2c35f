"""Reads the log of a container from Docker: lines with stream and time stamp, as they arrive.

Docker sends one frame per message, and stamps each. A line of more than 16 KiB is several messages, of which only the last
one ends with a newline.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.http import Connection, InvalidResponse
from conductor.plan.log import LogLine, Stream
from conductor.runtime.docker.api import DEADLINE_SECONDS
from conductor.runtime.docker.attach import TaskRuntime
from conductor.runtime.docker.log_file import read_log_file
from conductor.runtime.port import RuntimeUnavailable

TICK_SECONDS = 0.5  # of silence
_STREAMS: Final[dict[int, Stream]] = {1: "stdout", 2: "stderr"}
_STAMPED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) (.*)", re.DOTALL)


def read_log(
    tasks: TaskRuntime, clock: Clock, container: str, seconds: int, tail: int | None, *, follow: bool,
    kind: str = "containers", runs: Callable[[], bool] | None = None,
) -> Iterator[LogLine]:  # fmt: skip
    """Yield the lines since `seconds` (since 1970), at most the last `tail`. With `follow`, wait for more until it exits.

    A log that is kept in a file is read there, from its first line. `kind` is `tasks` for the id of a task of Swarm's: the
    response that follows it has no end, so `runs` shows when to stop.
    """
    cannot = f"cannot read the log of container {container[:12]}"
    query = f"timestamps=1&since={seconds}&tail={'all' if tail is None else tail}&follow={int(follow)}"
    connection = tasks.open_log(container, query, kind)
    if connection is None:
        return
    if tasks.api.dialect.logs_to_file:
        connection.close()
        exists = functools.partial(tasks.runs, container) if follow else None
        if path := tasks.log_file(container):
            yield from read_log_file(path, clock, tail, exists, cannot)
        return
    with connection:
        connection.end_deadline()
        if not follow:
            connection.socket.settimeout(DEADLINE_SECONDS)
        try:
            yield from _lines(_frames(connection, runs if follow else None), cannot)
        except (OSError, InvalidResponse) as error:
            raise RuntimeUnavailable(
                f"{cannot}: the connection to Docker was lost", "check it with systemctl status docker"
            ) from error


def _frames(connection: Connection, runs: Callable[[], bool] | None) -> Iterator[tuple[int, bytes]]:
    """Yield stream number and data of each complete frame: a header of 8 bytes, of which the last four are the size.

    With `runs`, stop when nothing arrives any more and `runs` returns False.
    """
    received, pieces = b"", connection.pieces()
    while runs is None or _arrives(connection, runs):
        if (piece := next(pieces, None)) is None:
            return
        received += piece
        at = 0
        while at + 8 <= len(received) and at + 8 + (size := int.from_bytes(received[at + 4 : at + 8])) <= len(received):
            yield received[at], received[at + 8 : at + 8 + size]
            at += 8 + size
        received = received[at:]


def _arrives(connection: Connection, runs: Callable[[], bool]) -> bool:
    """Wait for more data; return False once there is none and `runs` returns False."""
    while not connection.is_readable(TICK_SECONDS):
        if not runs():
            return connection.is_readable(TICK_SECONDS)
    return True


def _lines(frames: Iterable[tuple[int, bytes]], cannot: str) -> Iterator[LogLine]:
    begun: dict[Stream, tuple[str, bytes]] = {}  # lines without an end yet
    for number, data in frames:
        found = _STAMPED.fullmatch(data.decode("latin-1"))
        stream = _STREAMS.get(number)
        if found is None or stream is None:  # an error of Docker's inside the stream, such as a damaged log file
            raise ConductorError(f"{cannot}: {data.decode(errors='replace').strip()}")
        stamp, text = begun.pop(stream, (found[1], b""))
        text += found[2].encode("latin-1")
        if text.endswith(b"\n"):
            yield _line(stamp, stream, text)
        else:
            begun[stream] = stamp, text
    for stream, (stamp, text) in begun.items():
        yield _line(stamp, stream, text)


def _line(stamp: str, stream: Stream, text: bytes) -> LogLine:
    return LogLine(stamp, stream, text.removesuffix(b"\n").removesuffix(b"\r").decode(errors="replace"))
