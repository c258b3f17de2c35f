"""Step 2: an image that is not here is pulled, and told layer by layer."""

from conductor.clock import Clock
from conductor.engine.ports import Engine
from conductor.plan.values import Image
from conductor.report.events import Began, Ended, Waiting
from conductor.report.printers import Reporter


def pull(engine: Engine, reference: str, report: Reporter, clock: Clock) -> Image:
    """Fetch it; Ctrl-C ends the waiting."""
    report.emit(Began("pull", f"fetch {reference}"))
    began, said = clock.monotonic(), ""

    def progress(text: str) -> None:
        nonlocal said
        clock.check()
        if text != said:
            said = text
            report.emit(Waiting("pull", text))

    image = engine.pull(reference, progress)
    report.emit(Ended("pull", clock.monotonic() - began))
    return image
