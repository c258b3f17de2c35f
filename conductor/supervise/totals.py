"""What has happened since `supervise` started, counted for metrics: passes, and the entries that any process adds to the history."""

import threading
from pathlib import Path

import msgspec

from conductor.plan.history import HistoryAction, HistoryEntry, Outcome
from conductor.snapshot.actions import seconds_taken
from conductor.snapshot.published import ActionTotal, Sum, Totals
from conductor.state.history import CURRENT, latest
from conductor.supervise.history import COMMAND

MOST_BYTES = 256 * 1024  # of the history that one reading goes back


class HistoryTotals:
    """Counts the entries of the history that are newer than this object, and keeps the latest ones for display."""

    def __init__(self, directory: Path, most_shown: int) -> None:
        self._directory = directory
        self._most_shown = most_shown
        self._stamp: object = None
        self._last: bytes | None = None  # the newest line that is counted; None before the first reading
        self.shown: tuple[HistoryEntry, ...] = ()
        self.totals = Totals()
        self._actions: dict[tuple[str, HistoryAction, Outcome], ActionTotal] = {}

    def read(self) -> bool:
        """Read the history again if it has changed. Return True if it was read."""
        stamp = self._read_stamp()
        if stamp == self._stamp:
            return False
        first, counted, newest = self._stamp is None, self._last, None
        shown: list[HistoryEntry] = []
        per_service: dict[str, int] = {}
        uncounted = not first
        for line in latest(self._directory, MOST_BYTES):
            newest = newest or line.raw
            uncounted = uncounted and line.raw != counted
            per_service[line.service] = per_service.get(line.service, 0) + 1
            is_shown = per_service[line.service] <= self._most_shown
            entry = line.entry() if uncounted or is_shown else None
            if entry is not None and uncounted:
                self._count(entry)
            if entry is not None and is_shown:
                shown.append(_without_command(entry))
        self._stamp, self._last, self.shown = stamp, newest, tuple(shown)
        return True

    def _read_stamp(self) -> object:
        try:
            found = (self._directory / CURRENT).stat()
        except OSError:
            return "absent"
        return found.st_ino, found.st_size

    def _count(self, entry: HistoryEntry) -> None:
        totals = self.totals
        new = ActionTotal(service=entry.service, action=entry.action, outcome=entry.outcome, durations=Sum())
        total = self._actions.setdefault((entry.service, entry.action, entry.outcome), new)
        totals.actions = list(self._actions.values())
        total.durations.add(seconds_taken(entry) or 0.0)
        total.last = max(total.last, entry.at)
        for step, seconds in entry.steps.items():
            totals.steps.setdefault(step, Sum()).add(seconds)
        if entry.cut:
            totals.cut_requests[entry.service] = totals.cut_requests.get(entry.service, 0) + entry.cut
        if entry.waited:
            totals.lock_waits.add(entry.waited)


def _without_command(entry: HistoryEntry) -> HistoryEntry:
    """Return an entry that may be published. A command may contain any word of a task; of `supervise`, it says who acted."""
    return entry if entry.command == COMMAND else msgspec.structs.replace(entry, command="")


class PassTotals:
    """Counts the passes. One thread adds, another one reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._passes = Sum()
        self._failed = 0
        self._last = ""

    def add(self, seconds: float, succeeded_at: str) -> None:
        """Add a pass. `succeeded_at` is when it succeeded, empty if it failed."""
        with self._lock:
            self._passes.add(seconds)
            self._failed += not succeeded_at
            self._last = succeeded_at or self._last

    def write_to(self, totals: Totals) -> None:
        """Put the numbers into the totals."""
        with self._lock:
            totals.passes = msgspec.structs.replace(self._passes)
            totals.failed_passes, totals.last_pass = self._failed, self._last
