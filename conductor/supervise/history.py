"""The history of `supervise` without repetitions: an action that keeps failing is recorded less and less often."""

import threading

import msgspec

from conductor.plan.history import FINISHED, HistoryEntry, Outcome
from conductor.state.history import HistoryWriter

COMMAND = "supervise"  # names `supervise` in locks, journals and the history
_Failure = tuple[str, Outcome, str | None]
FAILURES = {Outcome.REFUSED, Outcome.ROLLED_BACK, Outcome.FAILED}


class QuietHistory:
    """Implements `HistoryWriter`: of the failures of one action on one service, with the same outcome after the same step, it
    writes only the first, second, fourth, eighth and so on. A service that fails every minute for a week has 14 entries.

    Each entry has the number of `failures` in a row, and so has the entry of `supervise` that ends them. After any other entry
    of the service, except one of `gc`, the counts start over. `forget` is for a service that became healthy without
    a repair, or by a command, whose entry another process writes.
    """

    def __init__(self, history: HistoryWriter) -> None:
        self._history = history
        self._failed: dict[str, dict[_Failure, int]] = {}  # since the latest other entry, by service
        self._lock = threading.Lock()

    def forget(self, service: str) -> None:
        """Let the counts of a service start over: its earlier failures are over."""
        with self._lock:
            self._failed.pop(service, None)

    def append(self, entry: HistoryEntry) -> None:
        """Write the entry, unless it repeats a failure. A failure that could not be written does not count."""
        if entry.action == "gc":  # which does not fix the cause of a failure
            self._history.append(entry)
            return
        with self._lock:
            counts = dict(self._failed.get(entry.service, {}))
        failed = entry.command == COMMAND and entry.outcome in FAILURES
        if failed:
            counts[_failure(entry)] = counts.get(_failure(entry), 0) + 1
        if not failed or _is_power_of_two(counts[_failure(entry)]):
            ends = entry.command == COMMAND and entry.outcome in FINISHED
            failures = sum(counts.values()) if failed or ends else 0
            self._history.append(msgspec.structs.replace(entry, failures=failures))
        with self._lock:
            self._failed[entry.service] = counts if failed else {}


def _failure(entry: HistoryEntry) -> _Failure:
    """Return what makes two failures the same: the action, the outcome and the last step that was completed."""
    return entry.action, entry.outcome, next(reversed(entry.steps), None)


def _is_power_of_two(count: int) -> bool:
    return count & (count - 1) == 0
