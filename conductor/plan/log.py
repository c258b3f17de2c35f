"""The log of a replica: lines with their time stamps, and how far they were read (pure)."""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from conductor.plan.replica import Kind

Stream = Literal["stdout", "stderr"]


class LogLine(msgspec.Struct, frozen=True):
    """One line that an app printed. `time` is RFC 3339, UTC, with nine decimals: such times sort as text. It is empty when
    it is not known."""

    time: str
    stream: Stream
    text: str


class KeptLog(msgspec.Struct, frozen=True, kw_only=True):
    """The last lines of a removed container, without secrets. `modified` is when its file was written, in seconds since 1970.

    In a log that an older version kept, the lines have no times, and `revision` is cut to twelve characters.
    """

    container: str
    revision: str
    kind: Kind
    lines: tuple[LogLine, ...]
    modified: float = 0.0


class LogPosition:
    """How far the log of one replica was read.

    Docker stamps the lines of each stream in order, but may store a line of one stream after a later line of the other.
    The position is therefore the last time stamp of each stream, and the number of lines that have it. `start` is the time
    before which no line is read.
    """

    def __init__(self, start: str = "") -> None:
        self.start = start
        self._last: dict[Stream, tuple[str, int]] = {}

    @property
    def since(self) -> str:
        """The time stamp from which the log must be read so that no line is missed."""
        return min(self._of("stdout")[0], self._of("stderr")[0])

    def unread(self, lines: Iterable[LogLine]) -> Iterator[LogLine]:
        """Yield the lines after the position, and advance it. `lines` has every line from `since` on."""
        before: dict[Stream, tuple[str, int]] = {"stdout": self._of("stdout"), "stderr": self._of("stderr")}
        skipped = Counter[Stream]()
        for line in lines:
            stamp, read = before[line.stream]
            if line.time < stamp:
                continue
            if line.time == stamp and skipped[line.stream] < read:
                skipped[line.stream] += 1
                continue
            last, count = self._of(line.stream)
            if line.time >= last:
                self._last[line.stream] = (line.time, count + 1 if line.time == last else 1)
            yield line

    def _of(self, stream: Stream) -> tuple[str, int]:
        return self._last.get(stream, (self.start, 0))
