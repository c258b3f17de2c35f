"""Reads the log of a container from the file in which Podman keeps it: its API has the times in whole seconds only.

A line of the file is `TIME STREAM F TEXT`; `P` instead of `F` marks a part of a longer line (conmon's k8s-file format).
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, cast

from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.plan.log import LogLine, Stream

POLL_SECONDS = 0.1  # of a followed file
RUNS_SECONDS = 0.5  # between two questions whether its container still runs
_LINE: Final = re.compile(rb"(\S{19})\.(\d{9})(\S+) (stdout|stderr) ([FP]) (.*)", re.DOTALL)
_END: Final = re.compile(rb"\S+ \S+ F ")  # of a line: its last part, or all of it


def read_log_file(
    path: str, clock: Clock, tail: int | None, runs: Callable[[], bool] | None, cannot: str
) -> Iterator[LogLine]:
    """Yield the lines of a log, at most the last `tail`. With `runs`, wait for more until it returns False.

    A file that does not exist has no lines: the container was not started, or was removed. Errors begin with `cannot`.
    """
    try:
        yield from _parsed(_parts(path, clock, tail, runs), clock, cannot)
    except OSError as error:
        raise ConductorError(f"{cannot}: {path}: {error.strerror}") from error


def _parts(path: str, clock: Clock, tail: int | None, runs: Callable[[], bool] | None) -> Iterator[bytes]:
    asked = clock.monotonic()
    goes_on = runs is not None and runs()
    with contextlib.closing(_LogFile(path)) as log:
        yield from _last(log.read(), tail)
        while goes_on:
            clock.sleep(POLL_SECONDS)
            if clock.monotonic() - asked >= RUNS_SECONDS:
                asked = clock.monotonic()
                goes_on = runs is not None and runs()  # before the read: what it wrote until then is in the file
            yield from log.read()


class _LogFile:
    """A file that may not exist yet, and that is replaced by a new one when it is full."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._file: BinaryIO | None = None
        self._begun = b""

    def read(self) -> list[bytes]:
        """Return what was added since the last call, without a part that is still being written."""
        found: list[bytes] = []
        while True:
            with contextlib.suppress(FileNotFoundError):
                self._file = self._file or self._path.open("rb")
            if self._file is None:
                return found
            *complete, self._begun = (self._begun + self._file.read()).split(b"\n")
            found += complete
            if not self._is_replaced(self._file):
                return found
            self.close()

    def _is_replaced(self, file: BinaryIO) -> bool:
        with contextlib.suppress(FileNotFoundError):
            return self._path.stat().st_ino != os.fstat(file.fileno()).st_ino
        return False

    def close(self) -> None:
        """Close it; the next read opens it again."""
        if self._file is not None:
            self._file.close()
        self._file, self._begun = None, b""


def _last(parts: Sequence[bytes], tail: int | None) -> Sequence[bytes]:
    """Return the parts of the last `tail` lines."""
    if tail is None:
        return parts
    ends = [at for at, part in enumerate(parts, 1) if _END.match(part) or at == len(parts)]
    return parts[ends[-tail - 1] :] if len(ends) > tail else parts


def _parsed(parts: Iterable[bytes], clock: Clock, cannot: str) -> Iterator[LogLine]:
    begun: dict[Stream, tuple[str, bytes]] = {}  # lines without an end yet
    latest, nanoseconds = "", 0
    for part in parts:
        found = _LINE.fullmatch(part)
        if found is None:
            raise ConductorError(f"{cannot}: {part.decode(errors='replace').strip()}")
        second = clock.stamp(f"{found[1].decode()}{found[3].decode()}")[:19]
        # conmon gives all that it reads at once the same time, but each line needs its own.
        nanoseconds = max(int(found[2]), nanoseconds + 1 if second == latest else 0)
        latest, stream = second, cast("Stream", found[4].decode())
        stamp, text = begun.pop(stream, (f"{second}.{nanoseconds:09}Z", b""))
        text += found[6]
        if found[5] == b"F":
            yield LogLine(stamp, stream, text.removesuffix(b"\r").decode(errors="replace"))
        else:
            begun[stream] = stamp, text
    for stream, (stamp, text) in begun.items():
        yield LogLine(stamp, stream, text.decode(errors="replace"))
