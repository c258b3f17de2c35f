"""The one clock, and the one place that hears signals: every wait ends early when a person asks to stop."""

import contextlib
import datetime
import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

from conductor.errors import Interrupted

TOO_LATE = "already switched, finishing"
LONGEST_POLL_SECONDS = 3600.0  # poll() counts milliseconds in an int; a longer wait is several of these


class Clock:
    """Wall time, monotonic time, and waits; signals are only noted, and acted on where it is safe.

    `check()` and `wait()` raise `Interrupted` for a signal, once. Under a shield they do not: the signal is told
    (`on_late_signal`, with the shield's words) and counts again when the outermost shield ends. After `finishing()` it
    is only told. All of it is the main thread's; other threads may ask for the time.

    The handler touches no lock, as the main thread may be interrupted holding it: Python writes a byte to a pipe that
    `wait()` sleeps on (`set_wakeup_fd`), the handler notes a number.
    """

    def __init__(self) -> None:
        self._signal = 0  # came, and was not raised yet
        self._untold = False
        self._shields: list[str] = []  # the words of each, outermost first
        self._finishing = False
        self._pipe: tuple[int, int] | None = None
        self.on_late_signal: Callable[[str], None] = lambda _words: None

    def listen(self) -> None:
        """Note SIGINT and SIGTERM; ignore SIGHUP, so that a lost SSH connection never stops an action."""
        self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def stop_listening(self) -> None:
        """The outcome is known: no signal changes the exit code any more, not even while Python itself ends."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if self._pipe is not None:
            signal.set_wakeup_fd(-1)
            for end in self._pipe:
                os.close(end)
            self._pipe = None

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signal = number
        self._untold = True

    def finishing(self) -> None:
        """From here on a signal changes nothing; one that came before came too late, and is told."""
        self._finishing = True
        self._untold = self._signal != 0
        self.check()

    @contextlib.contextmanager
    def shielded(self, words: str) -> Iterator[None]:
        """What must not be left half done; a signal during it, or just before, is told with `words` and acted on after."""
        if not self._shields:
            self._untold = self._untold or self._signal != 0
        self._shields.append(words)
        try:
            yield
        finally:
            self._shields.pop()

    @property
    def is_shielded(self) -> bool:
        """Whether what is under way must not be left half done."""
        return bool(self._shields)

    def check(self) -> None:
        """Raise `Interrupted` when a signal has asked to stop; only tell it where that has to wait or comes too late."""
        if not self._signal:
            return
        if self._finishing or self._shields:
            if self._untold:
                self._untold = False
                self.on_late_signal(TOO_LATE if self._finishing else self._shields[0])
            return
        number, self._signal, self._untold = self._signal, 0, False
        raise Interrupted(number)

    def wait(self, seconds: float) -> None:
        """Sleep, or raise `Interrupted` as soon as a signal asks to stop."""
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

    def monotonic(self) -> float:
        """Seconds that never jump, for intervals."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970, as the daemon counts them."""
        return time.time()

    def local(self) -> datetime.datetime:
        """What the clock on the wall of this host says, as cron reads it, without a time zone."""
        return datetime.datetime.now()  # noqa: DTZ005 (cron knows no other)

    def age(self, stamp: str) -> float:
        """Seconds since a time stamp of ours or Docker's (RFC 3339, UTC)."""
        then = datetime.datetime.fromisoformat(stamp[:19]).replace(tzinfo=datetime.UTC)
        return (datetime.datetime.now(datetime.UTC) - then).total_seconds()

    def now(self) -> str:
        """Wall time in UTC as ISO 8601 with milliseconds, for people and files."""
        return self.later(0.0)

    def later(self, seconds: float) -> str:
        """The same in so many seconds."""
        then = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        return then.isoformat(timespec="milliseconds").replace("+00:00", "Z")
