"""What containers need before they are created: the instance's network and an image."""

from pathlib import Path

from conductor.cancellation import Cancellation
from conductor.change.context import Context
from conductor.clock import Clock
from conductor.definitions.model import Definition
from conductor.errors import ConductorError, Interrupted, UsageError
from conductor.output.events import Progress, StepFinished, StepStarted
from conductor.output.printers import Output
from conductor.plan.release import Image, Release
from conductor.runtime.port import Runtime
from conductor.state.locks import ADDRESSES_SECONDS


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


def require_image(
    runtime: Runtime, release: Release, output: Output, clock: Clock, cancellation: Cancellation
) -> Image:
    """Return the image of a release. If the image was removed from this host, pull it, by its digest if that is known."""
    if (present := runtime.image(release.image_id)) is not None:
        return present
    action = f"use revision {release.revision} of {release.service}: its image {release.image} was removed"
    try:
        found = pull(runtime, release.image_digest or release.image, output, clock, cancellation)
    except Interrupted:
        raise
    except ConductorError as error:
        raise error.within(action, hint="upgrade to a revision that can be pulled") from error
    if found.id != release.image_id:
        raise ConductorError(
            f"cannot {action}, and its name now belongs to another image",
            f"conductor service upgrade --id {release.service} --revision {release.revision}",
        )
    return found
