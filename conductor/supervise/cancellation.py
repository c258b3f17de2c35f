"""When an action of `supervise` stops early: another command waits for the service's lock, or `supervise` ends."""

import contextlib
from collections.abc import Callable, Iterator

from conductor.clock import Clock
from conductor.errors import LockYielded

CHECK_SECONDS = 0.2  # between two checks for a waiting command


class YieldCancellation:
    """Implements `Cancellation`: raises `LockYielded` once `must_stop` returns True, except in a shielded block.

    That holds after the commit too, for example during a drain: the next holder of the lock finishes the change.
    """

    def __init__(self, must_stop: Callable[[], bool], clock: Clock) -> None:
        self._must_stop = must_stop
        self._clock = clock
        self._shields: list[str] = []  # appended to and popped by the threads of one action
        self._next_check = 0.0

    def check(self) -> None:
        """Raise `LockYielded` when the action must stop. `must_stop` is called at most every `CHECK_SECONDS`."""
        now = self._clock.monotonic()
        if self._shields or now < self._next_check:
            return
        self._next_check = now + CHECK_SECONDS
        if self._must_stop():
            raise LockYielded

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`, or raise `LockYielded` as soon as the action must stop."""
        until = self._clock.monotonic() + seconds
        self.check()
        while (left := until - self._clock.monotonic()) > 0:
            self._clock.sleep(min(left, CHECK_SECONDS))
            self.check()

    @contextlib.contextmanager
    def shielded(self, notice: str, *, yields: bool = False) -> Iterator[None]:
        """Return a context whose block is not interrupted, unless it `yields`."""
        if yields:
            yield
            return
        self._shields.append(notice)
        try:
            yield
        finally:
            self._shields.pop()

    def committed(self) -> None:
        """Do nothing: a committed change may be left to the next holder of the lock."""
