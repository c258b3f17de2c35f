"""A limit on starts in progress, so that a whole host's recovery does not stampede."""

import contextlib
import threading
from collections.abc import Iterator

from conductor.errors import LockYielded

LOOK_SECONDS = 0.25  # how often who waits for a turn looks whether it is all over
START_SECONDS = 5.0  # a turn lasts no longer, so that starts that hang keep no other one waiting


class StartLimit:
    """So many `at_once`; `over` ends the waiting."""

    def __init__(self, at_once: int, over: threading.Event) -> None:
        self._free = threading.BoundedSemaphore(at_once)
        self._over = over

    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for one's turn, and give it on when it is done, or takes long. `LockYielded` when it is all over."""
        while not self._free.acquire(timeout=LOOK_SECONDS):
            if self._over.is_set():
                raise LockYielded
        once = threading.Lock()

        def give_on() -> None:
            if once.acquire(blocking=False):
                self._free.release()

        late = threading.Timer(START_SECONDS, give_on)
        late.daemon = True
        try:
            with contextlib.suppress(RuntimeError):  # no thread can be started
                late.start()
            yield
        finally:
            late.cancel()
            give_on()
