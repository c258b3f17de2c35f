"""`service upgrade`: lock, settle, resolve, and hand what is to change to the runbook (`run.py`)."""

import contextlib
import secrets
from collections.abc import Iterator, Sequence

import msgspec

from conductor.change.context import Context
from conductor.change.image import pull
from conductor.change.preview import preview
from conductor.change.recover import settled
from conductor.change.runbook import refused, run
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.output.events import Finished, Told
from conductor.plan.transition import Transition, refuse_stopped, release, replace_all
from conductor.plan.values import Image
from conductor.traffic.render import Route


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says beyond ids and revision."""

    plan_only: bool = False
    force: bool = False
    start: bool = False
    skip_hooks: bool = False
    wait_seconds: float = 0.0


def upgrade(context: Context, definitions: Sequence[Definition], revision: str, options: Options) -> Finished:
    """Transition services to a revision, all or none."""
    began = context.clock.monotonic()
    with _locked(context, sorted(d.id for d in definitions), options):
        change = secrets.token_hex(4)
        transitions = [_move(context, d, revision, change, options) for d in definitions]
        try:
            transitions = [_resolve(context, transition, options) for transition in transitions]
            needed = [transition for transition in transitions if options.force or not _is_live(context, transition)]
        except ConductorError as error:
            raise refused(context, transitions, error) from None
        for transition in transitions:
            if transition not in needed:
                text = f"{transition.definition.id} already runs {revision}: {transition.count} of {transition.count} healthy; nothing to do"
                if not needed and transition is transitions[-1]:
                    return Finished(text, context.clock.monotonic() - began, 0, 0)
                context.report.emit(Told(text))
        if options.plan_only:
            return preview(context, needed, began)
        return run(context, needed, change, began)


@contextlib.contextmanager
def _locked(context: Context, services: Sequence[str], options: Options) -> Iterator[None]:
    if not options.plan_only:
        with settled(context, services, options.wait_seconds):
            yield
        return
    with contextlib.ExitStack() as locks:
        for service in services:
            locks.enter_context(context.locks.hold(service, options.wait_seconds))
            if context.store.journal(service) is not None:
                context.report.emit(Told(f"a change of {service} died; it would be settled first"))
        yield


def _move(context: Context, definition: Definition, revision: str, change: str, options: Options) -> Transition:
    wanted = context.store.wanted(definition.id)
    if not options.start:
        refuse_stopped(wanted)
    to = release(definition, revision, "", change)
    return replace_all("upgrade", wanted, definition, to, (), keep_releases=context.host.keep)


def _resolve(context: Context, transition: Transition, options: Options) -> Transition:
    """The transition with the image id that everything uses from here on, and with what runs now."""
    if transition.new.release is None:
        return transition
    image = _image(context, transition.new.release.image, options)
    to = msgspec.structs.replace(transition.new.release, image_id=image.id, image_digest=image.digest)
    containers = context.runtime.containers(transition.definition.id)
    hook = None if options.skip_hooks else transition.definition.service.before_upgrade
    return replace_all(
        "upgrade", transition.old, transition.definition, to, containers, keep_releases=context.host.keep, hook=hook
    )


def _image(context: Context, reference: str, options: Options) -> Image:
    found = context.runtime.image(reference)
    if found is None and options.plan_only:
        context.report.emit(Told(f"{'pull':>8}  fetch {reference}"))
    elif found is None:
        found = pull(context.runtime, reference, context.report, context.clock)
    return found or Image("", "")


def _is_live(context: Context, transition: Transition) -> bool:
    """The same release, at full count and no more, each answering, and nginx at exactly these."""
    live, to, service = transition.old.release, transition.new.release, transition.definition.service
    if live is None or to is None or transition.old.stopped or len(transition.gone) != transition.count:
        return False
    if (live.revision, live.image_id, live.definition) != (to.revision, to.image_id, to.definition):
        return False
    if not all(c.running and c.change == live.change for c in transition.gone):
        return False
    if service.nginx and not context.traffic.in_force(
        (Route(transition.definition, tuple(c.address for c in transition.gone)),)
    ):
        return False
    return service.health is None or all(context.health.check(c, service.health, str).ok for c in transition.gone)
