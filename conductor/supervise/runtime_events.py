"""Docker's events about our containers, only to look sooner: what is lost is seen by the next look."""

import contextlib
import threading
from collections.abc import Callable

from conductor.runtime.port import Change, Runtime

AGAIN_SECONDS = 1.0  # after a stream that ended as soon as it was begun: the daemon is away


def follow(
    runtime: Runtime,
    heard: Callable[[Change], None],
    lost: Callable[[], None],
    over: threading.Event,
    monotonic: Callable[[], float],
) -> None:
    """Call `heard` for each, for ever; a stream that ends is begun anew. `lost` is called when one that was open ends:
    events may have been missed, and the daemon restarted."""

    def run() -> None:
        while not over.is_set():
            began = monotonic()
            with contextlib.suppress(Exception):  # whatever it was, the next stream may do better
                for change in runtime.changes():
                    heard(change)
            if monotonic() - began >= AGAIN_SECONDS:
                lost()
            over.wait(AGAIN_SECONDS)

    threading.Thread(target=run, name="events", daemon=True).start()
