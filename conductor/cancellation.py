"""Requests to stop: signals are only recorded, and acted on where an action can stop safely."""

import contextlib
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import FrameType
from typing import Protocol

from conductor.errors import Interrupted

ALREADY_COMMITTED = "already committed: finishing the change"
# Signals that the caller of this process ignores, as nohup(1) does with SIGHUP. They stay ignored.
IGNORED = frozenset(number for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN)
LONGEST_POLL_SECONDS = 3600.0  # poll() counts milliseconds in an int, so a longer wait is several polls


class Cancellation(Protocol):
    """The points at which an action may stop early. Used by the main thread of an action."""

    def check(self) -> None:
        """Raise if the action must stop here. Do nothing while shielded."""

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`; raise as `check` does as soon as the action must stop."""

    def shielded(self, notice: str, *, yields: bool = False) -> AbstractContextManager[None]:
        """Return a context whose block is not interrupted: a request to stop prints `notice`, and is raised after the block.

        With `yields`, `supervise` still yields its lock inside the block, because the journal has what the next holder needs.
        """

    def committed(self) -> None:
        """Ignore requests to stop from now on: the change is committed and will be finished."""


class SignalCancellation:
    """Implements `Cancellation` for a command: SIGINT and SIGTERM raise `Interrupted`, once.

    The handler takes no lock, because the main thread may be interrupted while it holds one. Python writes a byte to the
    pipe that `wait` polls (`set_wakeup_fd`); the handler stores the signal's number.
    """

    def __init__(self) -> None:
        self._signal = 0  # received and not raised yet
        self._unreported = False
        self._shields: list[str] = []  # their notices, outermost first
        self._committed = False
        self._pipe: tuple[int, int] | None = None
        self.on_deferred: Callable[[str], None] = lambda _notice: None  # called with the notice of a deferred signal

    def listen(self) -> None:
        """Record SIGINT and SIGTERM, unless the caller ignores them.

        SIGHUP is ignored, so that a lost SSH connection never stops an action.
        """
        self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in {signal.SIGINT, signal.SIGTERM} - IGNORED:
            signal.signal(number, self._record)

    def stop_listening(self) -> None:
        """Ignore signals from here on: the outcome is known and the exit code no longer changes."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if self._pipe is not None:
            signal.set_wakeup_fd(-1)
            for end in self._pipe:
                os.close(end)
            self._pipe = None

    def _record(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number
        self._unreported = True

    def committed(self) -> None:
        """Report signals from here on instead of raising them, also one that arrived before."""
        self._committed = True
        self._unreported = self._signal != 0
        self.check()

    @contextlib.contextmanager
    def shielded(self, notice: str, *, yields: bool = False) -> Iterator[None]:
        """Defer signals until the outermost shield ends."""
        if not self._shields and not self._committed:
            self._unreported = self._unreported or self._signal != 0
        self._shields.append(notice)
        try:
            yield
        finally:
            self._shields.pop()

    def check(self) -> None:
        """Raise `Interrupted` for a signal, or report it once where it is deferred or too late."""
        if not self._signal:
            return
        if self._committed or self._shields:
            if self._unreported:
                self._unreported = False
                self.on_deferred(ALREADY_COMMITTED if self._committed else self._shields[0])
            return
        number, self._signal, self._unreported = self._signal, 0, False
        raise Interrupted(number)

    def wait(self, seconds: float) -> None:
        """Sleep, or raise `Interrupted` as soon as a signal arrives."""
        until = time.monotonic() + seconds
        poll = select.poll()
        if self._pipe is not None and threading.current_thread() is threading.main_thread():
            poll.register(self._pipe[0], select.POLLIN)
        self.check()
        while (left := until - time.monotonic()) > 0:
            if poll.poll(min(left, LONGEST_POLL_SECONDS) * 1000) and self._pipe is not None:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._pipe[0], 4096)
            self.check()
