"""What containers need before they are created: the instance's network and an image."""

from pathlib import Path

from conductor.cancellation import Cancellation
from conductor.change.context import Context
from conductor.clock import Clock
from conductor.definitions.model import Definition
from conductor.errors import UsageError
from conductor.output.events import Progress, StepFinished, StepStarted
from conductor.output.printers import Output
from conductor.plan.release import Image
from conductor.runtime.port import Runtime

ADDRESSES_LOCK_SECONDS = 180.0  # longer than the two calls to the daemon that its holder makes


def read_template(definition: Definition) -> str | None:
    """Return the text of the definition's server template, which belongs to the release; None without one."""
    nginx = definition.service.nginx
    path = nginx.server.template if nginx and nginx.server else None
    if path is None:
        return None
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not valid UTF-8"
        raise UsageError(f"cannot read template {path}: {cause}") from error


def ensure_network(context: Context) -> None:
    """Create the network if absent, under the lock of the addresses."""
    with context.locks.hold("addresses", wait_seconds=ADDRESSES_LOCK_SECONDS):
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
