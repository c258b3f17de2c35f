"""Step 2: an image that is not here is pulled, and told layer by layer."""

from conductor.clock import Clock
from conductor.output.events import Began, Ended, Waiting
from conductor.output.printers import Reporter
from conductor.plan.values import Image
from conductor.runtime.port import Runtime


def pull(runtime: Runtime, reference: str, report: Reporter, clock: Clock) -> Image:
    """Fetch it; Ctrl-C ends the waiting."""
    report.emit(Began("pull", f"fetch {reference}"))
    began, said = clock.monotonic(), ""

    def progress(text: str) -> None:
        nonlocal said
        clock.check()
        if text != said:
            said = text
            report.emit(Waiting("pull", text))

    image = runtime.pull(reference, progress)
    report.emit(Ended("pull", clock.monotonic() - began))
    return image
