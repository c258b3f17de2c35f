"""What containers need before they are created: the instance's network and an image."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from conductor.cancellation import Cancellation
from conductor.change.context import Context
from conductor.change.progress import text_reporter
from conductor.clock import Clock
from conductor.definitions.load import load
from conductor.definitions.model import Definition
from conductor.errors import ConductorError, Interrupted, UsageError
from conductor.output.events import StepFinished, StepStarted
from conductor.output.printers import Output
from conductor.plan.garbage import PulledImage
from conductor.plan.release import Image, Release
from conductor.runtime.port import Runtime
from conductor.state.locks import ADDRESSES_SECONDS, IMAGES, IMAGES_SECONDS


def read_template(definition: Definition) -> str | None:
    """Return the text of the definition's server template, which belongs to the release; None without one."""
    nginx = definition.service.nginx
    path = nginx.server.template if nginx and nginx.server else None
    return None if path is None else _read_template(path)


def read_maintenance_page(definition: Definition) -> str | None:
    """Return the text of the operator's own maintenance page; None without one."""
    nginx = definition.service.nginx
    path = nginx.maintenance_page if nginx else None
    return None if path is None else _read_template(path)


def _read_template(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        cause = error.strerror if isinstance(error, OSError) else "not valid UTF-8"
        raise UsageError(f"cannot read template {path}: {cause}") from error


def read_again(context: Context, definition: Definition) -> Definition:
    """Return the current definition: the file may have been replaced while this process waited for the lock, or recovered
    a change."""
    return load(context.config).service(definition.id)


def ensure_network(context: Context) -> None:
    """Create the network if absent, under the lock of the addresses."""
    with context.locks.hold("addresses", wait_seconds=ADDRESSES_SECONDS):
        context.runtime.ensure_network(context.host.network)


def pull(runtime: Runtime, reference: str, output: Output, clock: Clock, cancellation: Cancellation) -> Image:
    """Fetch an image and report the progress; Ctrl-C stops it."""
    output.emit(StepStarted(step="pull", text=f"pull {reference}"))
    began, report = clock.monotonic(), text_reporter(output, clock, "pull")

    def progress(text: str) -> None:
        cancellation.check()
        if text:
            report(text)

    image = runtime.pull(reference, progress)
    output.emit(StepFinished(step="pull", seconds=clock.monotonic() - began))
    return image


def pull_for(context: Context, service: str, reference: str) -> Image:
    """Fetch an image for a release of `service`, whose lock is held, and record it: `gc` removes only what Conductor pulled."""
    image = pull(context.runtime, reference, context.output, context.clock, context.cancellation)
    with (
        context.locks.share(IMAGES, IMAGES_SECONDS),
        contextlib.suppress(ConductorError),
    ):  # without a record, the image is kept
        record = PulledImage(reference=reference, image_id=image.id)
        context.store.write_pulled(context.store.pulled(service).with_image(record))
    return image


def require_image(runtime: Runtime, release: Release, fetch: Callable[[str], Image]) -> Image:
    """Return the image of a release. If the image was removed from this host, pull it, by its digest if that is known."""
    if (present := runtime.image(release.image_id)) is not None:
        return present
    action = f"use revision {release.revision} of {release.service}: its image {release.image} was removed"
    try:
        found = fetch(release.image_digest or release.image)
    except Interrupted:
        raise
    except ConductorError as error:
        raise error.within(action, hint="upgrade to a revision that can be pulled") from error
    if found.id != release.image_id:
        raise ConductorError(
            f"cannot {action}, and its tag now points to another image",
            f"conductor service upgrade --id {release.service} --revision {release.revision}",
        )
    return found
