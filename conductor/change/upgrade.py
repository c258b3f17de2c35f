"""`service upgrade`: lock and recover, resolve the images, and carry out one change of all services."""

import contextlib
import secrets
from collections.abc import Iterator, Sequence

import msgspec

from conductor.change.change import carry_out, refused, result
from conductor.change.context import Context
from conductor.change.prerequisites import pull, read_template
from conductor.change.preview import preview
from conductor.change.recover import locked_and_recovered
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.output.events import Finished, Notice
from conductor.plan.release import Image
from conductor.plan.route import Route
from conductor.plan.steps import replicas_text
from conductor.plan.transition import Transition, new_release, refuse_stopped, replace


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command line beyond ids and revision."""

    plan_only: bool = False
    force: bool = False
    start: bool = False
    skip_hooks: bool = False
    wait_seconds: float = 0.0


def upgrade(context: Context, definitions: Sequence[Definition], revision: str, options: Options) -> Finished:
    """Upgrade services to a revision, all of them or none."""
    began = context.clock.monotonic()
    with _locked(context, sorted(one.id for one in definitions), options):
        change = secrets.token_hex(4)
        try:
            transitions = _transitions(context, definitions, revision, change, options=options)
            needed = [one for one in transitions if options.force or not _is_live(context, one)]
        except ConductorError as error:
            services = [
                (one.id, context.store.wanted(one.id), new_release(one, revision, "", change)) for one in definitions
            ]
            raise refused(context, "upgrade", services, error) from error
        unchanged = [one for one in transitions if one not in needed]
        texts = [
            f"{one.service} already runs {revision} with {replicas_text(one.count)}; nothing to do" for one in unchanged
        ]
        skipped = tuple(result(one, changed=False) for one in unchanged)
        if not needed:
            seconds = context.clock.monotonic() - began
            return Finished(text="\n".join(texts), seconds=seconds, services=skipped)
        for text in texts:
            context.output.emit(Notice(text=text))
        if options.plan_only:
            return preview(context, needed, began)
        finished = carry_out(context, needed, change, began)
        return msgspec.structs.replace(finished, services=(*finished.services, *skipped))


@contextlib.contextmanager
def _locked(context: Context, services: Sequence[str], options: Options) -> Iterator[None]:
    if not options.plan_only:
        with locked_and_recovered(context, services, options.wait_seconds):
            yield
        return
    with contextlib.ExitStack() as locks:
        for service in services:
            locks.enter_context(context.locks.hold(service, options.wait_seconds))
            if context.store.journal(service) is not None:
                context.output.emit(
                    Notice(text=f"{service} has an interrupted change; an upgrade would recover it first")
                )
        yield


def _transitions(
    context: Context, definitions: Sequence[Definition], revision: str, change: str, *, options: Options
) -> list[Transition]:
    """Refuse stopped services before the image of any service is pulled."""
    if not options.start:
        for definition in definitions:
            refuse_stopped(context.store.wanted(definition.id))
    return [_transition(context, one, revision, change, options=options) for one in definitions]


def _transition(
    context: Context, definition: Definition, revision: str, change: str, *, options: Options
) -> Transition:
    """Resolve the image, and return the transition from the replicas that run now."""
    wanted = context.store.wanted(definition.id)
    image = _image(context, f"{definition.service.image}:{revision}", options)
    release = msgspec.structs.replace(
        new_release(definition, revision, image.id, change, digest=image.digest), template=read_template(definition)
    )
    running = context.runtime.containers(definition.id).replicas
    hook = None if options.skip_hooks else definition.service.before_upgrade
    return replace("upgrade", wanted, definition, release, running, keep_releases=context.host.keep, hook=hook)


def _image(context: Context, reference: str, options: Options) -> Image:
    found = context.runtime.image(reference)
    if found is None and options.plan_only:
        context.output.emit(Notice(text=f"{'pull':>8}  fetch {reference}"))
    elif found is None:
        found = pull(context.runtime, reference, context.output, context.clock, context.cancellation)
    return found or Image("", "")


def _is_live(context: Context, transition: Transition) -> bool:
    """True when exactly this release runs: the wanted number of replicas, all healthy, and the traffic goes to them."""
    live, new, service = transition.old.release, transition.new.live, transition.definition.service
    current = transition.remove
    if live is None or transition.old.stopped or len(current) != transition.count:
        return False
    if (live.revision, live.image_id, live.definition) != (new.revision, new.image_id, new.definition):
        return False
    if not all(one.running and one.release == live.id for one in current):
        return False
    endpoints = tuple(one.endpoint for one in current if one.endpoint)
    if service.nginx and not context.traffic.serves([Route(transition.definition, endpoints, new.template)]):
        return False
    health = service.health
    return health is None or all(context.health.check(one, health, str).ok for one in current)
