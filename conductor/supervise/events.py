"""Docker's events about our containers, only to look sooner: what is lost is seen by the next look."""

import contextlib
import threading
from collections.abc import Callable

from conductor.engine.ports import Engine
from conductor.errors import ConductorError

AGAIN_SECONDS = 1.0  # after a stream that ended as soon as it was begun: the daemon is away


def follow(engine: Engine, woken: Callable[[], None], over: threading.Event, monotonic: Callable[[], float]) -> None:
    """Call `woken` for each, for ever; a stream that ends, as a silent one does, is begun anew."""

    def run() -> None:
        while not over.is_set():
            began = monotonic()
            with contextlib.suppress(ConductorError):
                for _ in engine.changes():
                    woken()
            if monotonic() - began < AGAIN_SECONDS:
                over.wait(AGAIN_SECONDS)
            woken()

    threading.Thread(target=run, name="events", daemon=True).start()
