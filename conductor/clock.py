"""The one clock, and the one place that hears signals: every wait ends early when a person asks to stop."""

import contextlib
import datetime
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from conductor.errors import Interrupted


class Clock:
    """Wall time, monotonic time, and waits; signals are only noted, and acted on where it is safe.

    Before the commit `check()` and `wait()` raise `Interrupted`; after `finishing()` they no longer do, and a signal
    calls `on_late_signal` instead.
    """

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._signal = 0
        self._shielded = False
        self._late = False
        self.on_late_signal: Callable[[], None] = lambda: None

    def listen(self) -> None:
        """Note SIGINT and SIGTERM; ignore SIGHUP, so that a lost SSH connection never stops an action."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def stop_listening(self) -> None:
        """The outcome is known: no signal changes the exit code any more, not even while Python itself ends."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._shielded:
            self._late = True
            return
        self._signal = number
        self._asked.set()

    def finishing(self) -> None:
        """From here on a signal changes nothing; one that came before is forgotten, as it came too late."""
        self._shielded = True
        self._late = self._late or self._asked.is_set()
        self._asked.clear()
        self.check()

    @contextlib.contextmanager
    def shielded(self, words: str) -> Iterator[None]:
        """While undoing: a second Ctrl-C must not leave the undo half done."""
        before, self._shielded = self._shielded, True
        self._asked.clear()
        try:
            yield
        finally:
            self._shielded = before

    def check(self) -> None:
        """Raise `Interrupted` when a signal has asked to stop; tell it when that came too late."""
        if self._late:
            self._late = False
            self.on_late_signal()
        if self._asked.is_set():
            raise Interrupted(self._signal)

    def wait(self, seconds: float) -> None:
        """Sleep, or raise `Interrupted` as soon as a signal asks to stop."""
        self._asked.wait(max(seconds, 0))
        self.check()

    def monotonic(self) -> float:
        """Seconds that never jump, for intervals."""
        return time.monotonic()

    def now(self) -> str:
        """Wall time in UTC as ISO 8601 with milliseconds, for people and files."""
        return datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
