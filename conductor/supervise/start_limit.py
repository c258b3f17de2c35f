"""The start limit: how many services may be starting at once, so that the recovery of a host does not overload it."""

import contextlib
import threading
from collections.abc import Iterator

from conductor.errors import LockYielded

POLL_SECONDS = 0.25  # between two checks for the end of `supervise`
START_SECONDS = 5.0  # a slower start no longer counts, so that starts that hang do not block others


class StartLimit:
    """At most `at_once` starts. `ended` is set when `supervise` ends."""

    def __init__(self, at_once: int, ended: threading.Event, start_seconds: float = START_SECONDS) -> None:
        self._free = threading.BoundedSemaphore(at_once)
        self._ended = ended
        self._start_seconds = start_seconds

    @contextlib.contextmanager
    def slot(self) -> Iterator[None]:
        """Wait for a free slot and keep it during the block, at most for `start_seconds`.

        Raise `LockYielded` when `supervise` ends.
        """
        while not self._free.acquire(timeout=POLL_SECONDS):
            if self._ended.is_set():
                raise LockYielded
        once = threading.Lock()

        def release() -> None:
            if once.acquire(blocking=False):
                self._free.release()

        timer = threading.Timer(self._start_seconds, release)
        timer.daemon = True
        try:
            with contextlib.suppress(RuntimeError):  # no thread can be started
                timer.start()
            yield
        finally:
            timer.cancel()
            release()
