"""The history of `supervise` without repetitions: an action that fails again and again is recorded once."""

import threading

from conductor.plan.history import HistoryEntry, Outcome
from conductor.state.history import HistoryWriter

COMMAND = "supervise"  # names `supervise` in locks, journals and the history
FAILURES = {Outcome.REFUSED, Outcome.ROLLED_BACK, Outcome.FAILED}


class QuietHistory:
    """Implements `HistoryWriter`: drops a failure of `supervise` when the same action on the same service failed before.

    Any other entry of the service ends that.
    """

    def __init__(self, history: HistoryWriter) -> None:
        self._history = history
        self._failed: dict[str, set[str]] = {}  # actions whose latest failure is written, by service
        self._lock = threading.Lock()

    def append(self, entry: HistoryEntry) -> None:
        """Write the entry, unless it repeats a failure."""
        if self._is_repetition(entry):
            return
        self._history.append(entry)
        self._remember(entry)

    def _is_repetition(self, entry: HistoryEntry) -> bool:
        with self._lock:
            return _is_failure(entry) and entry.action in self._failed.get(entry.service, ())

    def _remember(self, entry: HistoryEntry) -> None:
        with self._lock:
            if _is_failure(entry):
                self._failed.setdefault(entry.service, set()).add(entry.action)
            else:
                self._failed.pop(entry.service, None)


def _is_failure(entry: HistoryEntry) -> bool:
    return entry.command == COMMAND and entry.outcome in FAILURES
