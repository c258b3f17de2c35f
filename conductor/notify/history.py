"""Notifications about changes, made where the end of every change is written: in the history."""

import contextlib
import os
from collections.abc import Callable

from conductor.clock import seconds_between
from conductor.plan.history import HistoryEntry
from conductor.plan.notification import Notification, of_change
from conductor.state.history import HistoryWriter


class NotifyingHistory:
    """Implements `HistoryWriter`: also passes a notification to `put` for each entry that ends a change.

    An entry that cannot be written causes no notification: the next holder of the lock ends the change again.
    """

    def __init__(self, history: HistoryWriter, put: Callable[[Notification], None]) -> None:
        self._history = history
        self._put = put

    def append(self, entry: HistoryEntry) -> None:
        """Write the entry."""
        self._history.append(entry)
        duration = None
        with contextlib.suppress(ValueError):  # in a journal that was edited by hand
            duration = round(seconds_between(entry.began, entry.at), 3) if entry.began else None
        notification = of_change(entry, host_name(), duration)
        if notification is not None:
            self._put(notification)


def host_name() -> str:
    """Return the name of this host."""
    return os.uname().nodename
