"""Docker's events about our containers, only to look sooner: what is lost is seen by the next look."""

import threading
from collections.abc import Callable

from conductor.engine.ports import Engine
from conductor.errors import ConductorError

AGAIN_SECONDS = 1.0


def follow(engine: Callable[[], Engine], woken: Callable[[], None], over: threading.Event) -> None:
    """Call `woken` for each, for ever; a stream that ends is begun anew."""

    def run() -> None:
        while not over.wait(AGAIN_SECONDS):
            try:
                for _ in engine().changes():
                    woken()
            except ConductorError:
                pass
            woken()

    threading.Thread(target=run, name="events", daemon=True).start()
