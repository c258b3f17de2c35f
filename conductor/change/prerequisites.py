"""What containers need before they are created: the instance's network and an image."""

from conductor.cancellation import Cancellation
from conductor.change.context import Context
from conductor.clock import Clock
from conductor.output.events import Progress, StepFinished, StepStarted
from conductor.output.printers import Output
from conductor.plan.release import Image
from conductor.runtime.port import Runtime
from conductor.state.locks import ADDRESSES_SECONDS


def ensure_network(context: Context) -> None:
    """Create the network if absent, under the lock of the addresses."""
    with context.locks.hold("addresses", wait_seconds=ADDRESSES_SECONDS):
        context.runtime.ensure_network(context.host.network)


def pull(runtime: Runtime, reference: str, output: Output, clock: Clock, cancellation: Cancellation) -> Image:
    """Fetch an image and report the progress; Ctrl-C stops it."""
    output.emit(StepStarted(step="pull", text=f"fetch {reference}"))
    began, last = clock.monotonic(), ""

    def progress(text: str) -> None:
        nonlocal last
        cancellation.check()
        if text != last:
            last = text
            output.emit(Progress(step="pull", text=text))

    image = runtime.pull(reference, progress)
    output.emit(StepFinished(step="pull", seconds=clock.monotonic() - began))
    return image
