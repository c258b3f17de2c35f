"""`service upgrade`: lock and recover, resolve the images, and carry out one change of all services."""

import contextlib
import secrets
from collections.abc import Sequence

import msgspec

from conductor.change.change import carry_out, refused
from conductor.change.context import Context
from conductor.change.garbage import collect_after_upgrade
from conductor.change.outcome import nothing_to_do, report_none_running, result
from conductor.change.prerequisites import pull_for, read_again, read_template
from conductor.change.preview import preview
from conductor.change.recover import locked_and_recovered, locked_to_preview
from conductor.change.release_files import ReleaseFiles
from conductor.definitions.model import Canary, Definition
from conductor.definitions.scalars import Percent, Period
from conductor.errors import ConductorError, UsageError
from conductor.output.events import Finished, Notice
from conductor.plan.release import Image
from conductor.plan.route import Route
from conductor.plan.steps import replicas_text
from conductor.plan.transition import Transition, new_release, refuse_stopped, replace, was_routed
from conductor.state.locks import IMAGES, IMAGES_SECONDS
from conductor.state.promotions import Promotions


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """The options of the command line beyond ids and revision. `pull`: also if the image is on this host.

    `canary_share` and `canary_for` replace those of the definition. A share of 100% is no canary.
    """

    plan_only: bool = False
    force: bool = False
    start: bool = False
    skip_hooks: bool = False
    pull: bool = False
    canary_share: Percent | None = None
    canary_for: Period | None = None
    wait_seconds: float = 0.0


def upgrade(context: Context, definitions: Sequence[Definition], revision: str, options: Options) -> Finished:
    """Upgrade services to a revision, all of them or none."""
    began = context.clock.monotonic()
    ids = sorted(one.id for one in definitions)
    locked = locked_to_preview if options.plan_only else locked_and_recovered
    with locked(context, ids, options.wait_seconds) as is_late, contextlib.ExitStack() as until_recorded:
        # Until the journals name the images, `gc` must not remove them.
        if not options.plan_only:
            until_recorded.enter_context(context.locks.share(IMAGES, IMAGES_SECONDS))
        change = secrets.token_hex(4)
        try:
            if is_late or options.wait_seconds:
                definitions = [read_again(context, one) for one in definitions]
            transitions = _transitions(context, definitions, revision, change, options=options)
            needed = [one for one in transitions if options.force or not _is_live(context, one)]
        except ConductorError as error:
            services = [
                (one.id, context.store.wanted(one.id), new_release(one, revision, "", change)) for one in definitions
            ]
            raise refused(context, "upgrade", services, error, recorded=not options.plan_only) from error
        unchanged = [one for one in transitions if one not in needed]
        texts = [
            f"{one.service} is already running {revision} with {replicas_text(one.count)}; nothing to do"
            for one in unchanged
        ]
        if not needed:
            return nothing_to_do(context, unchanged, "\n".join(texts), began)
        skipped = tuple(result(one, changed=False) for one in unchanged)
        for text in texts:
            context.output.emit(Notice(text=text))
        report_none_running(context, unchanged)
        if options.plan_only:
            return preview(context, needed, began)
        finished = carry_out(context, needed, change, began, recorded=until_recorded.close)
        return msgspec.structs.replace(
            finished,
            warnings=finished.warnings + collect_after_upgrade(context, ids),
            services=(*finished.services, *skipped),
        )


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
    image = _image(context, definition.id, f"{definition.service.image}:{revision}", options)
    release = msgspec.structs.replace(
        new_release(definition, revision, image.id, change, digest=image.digest), template=read_template(definition)
    )
    running = wanted.without_retiring(context.runtime.containers(definition.id).replicas)
    hook = None if options.skip_hooks else definition.service.before_upgrade
    made = replace("upgrade", wanted, definition, release, running, keep_releases=context.host.keep, hook=hook)
    return msgspec.structs.replace(made, canary=_canary(context, made, options))


def _canary(context: Context, transition: Transition, options: Options) -> Canary | None:
    """Return the canary of an upgrade; None for one without. Without an old or a new replica, there is nothing to compare."""
    service, id_ = transition.definition.service, transition.service
    if options.canary_share is None and service.canary is None:
        return None
    canary = service.canary or Canary()
    canary = msgspec.structs.replace(
        canary, share=options.canary_share or canary.share, for_=options.canary_for or canary.for_
    )
    if canary.share >= 100 or service.nginx is None:
        return None
    if context.host.nginx.cutover != "live":
        raise UsageError(
            f"cannot upgrade {id_} with a canary: this needs host.nginx.cutover: live", "conductor help live"
        )
    if transition.stop_first:
        raise UsageError(
            f"cannot upgrade {id_} with a canary: with order: stop-first, old and new replicas never run together"
        )
    serves = was_routed(transition.old) and transition.new.maintenance is None and context.traffic.serving(id_)
    return canary if serves and transition.add and any(one.running for one in transition.remove) else None


def promote(context: Context, services: Sequence[str]) -> Finished:
    """Ask the upgrades of these services, which are in their canary, to give the new replicas all requests."""
    began = context.clock.monotonic()
    journals = {service: context.store.journal(service) for service in services}
    for service, journal in journals.items():
        waits = journal is not None and journal.canary is not None and journal.cutover is None
        if not waits or not context.locks.is_held(service):  # otherwise the upgrade was killed
            raise ConductorError(f"cannot promote {service}: it has no canary in progress")
    for service, journal in journals.items():
        if journal is not None:
            Promotions(context.host.runtime_dir).request(service, journal.change)
    text = f"the new replicas of {', '.join(services)} will get all requests"
    return Finished(text=text, seconds=context.clock.monotonic() - began)


def _image(context: Context, service: str, reference: str, options: Options) -> Image:
    found = context.runtime.image(reference)
    if found is not None and not options.pull:
        return found
    if options.plan_only:
        context.output.emit(Notice(text=f"{'pull':>8}  pull {reference}"))
        return found or Image("", "")
    return pull_for(context, service, reference)


def _is_live(context: Context, transition: Transition) -> bool:
    """True when exactly this release runs: the wanted number of replicas, all healthy, and the traffic goes to them."""
    live, new, service = transition.old.release, transition.new.live, transition.definition.service
    current = transition.remove
    if live is None or transition.old.stopped or len(current) != transition.count:
        return False
    if (live.revision, live.image_id) != (new.revision, new.image_id):
        return False
    if {**live.definition, "notify": None} != {**new.definition, "notify": None}:  # `notify` follows the file
        return False
    if ReleaseFiles(context.store).changed(live, transition.definition):
        return False
    if not all(one.running and one.release == live.id for one in current):
        return False
    endpoints = tuple(one.endpoint for one in current if one.endpoint)
    route = Route(transition.definition, endpoints, new.template, transition.new.maintenance)
    if service.nginx and not context.traffic.serves([route]):
        return False
    health = service.health
    return health is None or all(context.health.check(one, health, str).ok for one in current)
