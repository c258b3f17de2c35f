"""The log of one replica: what the runtime has, and what was kept when the replica was removed. Each line is read once."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from conductor.clock import Clock
from conductor.plan.log import KeptLog, LogLine, LogPosition
from conductor.runtime.port import Runtime


class Entry(NamedTuple):
    """A line of a replica, without secrets. Entries are sorted by `order`: the time of the line or, if that is unknown, the
    time when the log was kept."""

    order: str
    replica: str
    revision: str
    line: LogLine


class ReplicaLog:
    """The log of one replica, and how far it was read.

    `container` is the replica's id, empty if only a kept log exists. `redact` removes secrets; a kept log has none.
    `read_until` is the time of the exit after which the log was read to its end.
    """

    def __init__(self, runtime: Runtime, clock: Clock, name: str, revision: str, since: str) -> None:
        self.name = name
        self.revision = revision
        self.container = ""
        self.redact: Callable[[str], str] = str
        self.read_until = ""
        self._runtime = runtime
        self._clock = clock
        self._position = LogPosition(since)
        self._any_read = False

    def history(self, tail: int | None) -> Iterator[Entry]:
        """Yield the lines that exist now, at most the last `tail`."""
        if not self.container:
            return
        last = None if tail is None else max(tail, 1)  # with `tail` 0, the position is after the last line
        lines = self._runtime.read_log(self.container, since=self._position.since, tail=last)
        for number, line in enumerate(self._position.unread(lines)):
            if tail is not None and number == 0:
                self._position.start = line.time  # earlier lines are not read later
            if tail != 0:
                yield self._entry(line)
            self._any_read = True

    def follow(self) -> Iterator[Entry]:
        """Yield the lines that were not read yet, and new ones until the container exits."""
        lines = self._runtime.read_log(self.container, since=self._position.since, follow=True)
        for line in self._position.unread(lines):
            self._any_read = True
            yield self._entry(line)

    def rest(self, kept: KeptLog | None, tail: int | None = None) -> Iterator[Entry]:
        """Yield the lines of the replica's kept log that were not read yet, at most the last `tail`."""
        lines = () if kept is None else kept.lines if tail is None else kept.lines[max(0, len(kept.lines) - tail) :]
        if kept and lines and not lines[0].time:  # kept by an older version: it is unknown which lines were read
            written = self._clock.stamp_of(kept.modified)
            if not self._any_read and written >= self._position.start:
                yield from (Entry(written, self.name, self.revision, line) for line in lines)
            return
        yield from (Entry(line.time, self.name, self.revision, line) for line in self._position.unread(lines))

    def _entry(self, line: LogLine) -> Entry:
        text = self.redact(line.text)
        return Entry(line.time, self.name, self.revision, msgspec.structs.replace(line, text=text))
