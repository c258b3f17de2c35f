"""`rollback`, `restart`, `start`, `stop`, `scale` and `maintenance`: each function makes the transition of one service."""

import secrets
from collections.abc import Mapping
from typing import Protocol

import msgspec

from conductor.caller import current_user
from conductor.change.change import carry_out
from conductor.change.context import Context
from conductor.change.outcome import nothing_to_do, report_none_running, result
from conductor.change.prerequisites import read_again, read_maintenance_page, read_template
from conductor.change.preview import preview
from conductor.change.recover import locked_and_recovered, locked_to_preview
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.health.fitness import unfit
from conductor.output.events import Finished, Notice
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.journal import MAINTENANCE, ChangeAction
from conductor.plan.release import Hold, Maintenance, Wanted
from conductor.plan.replica import Replica
from conductor.plan.steps import replicas_text
from conductor.plan.transition import (
    Transition,
    after_rollback,
    image_changed,
    maintain,
    refuse_stopped,
    replace,
    resize,
    rollback_target,
    wanted_count,
)

MAINTENANCE_MESSAGE = "This service is under maintenance. Please try again later."


class CurrentState(msgspec.Struct, frozen=True, kw_only=True):
    """One service under its lock. `defined` is its definition in the file (None: absent or invalid), `change` the id of
    the change that will be made."""

    wanted: Wanted
    replicas: tuple[Replica, ...]
    defined: Definition | None
    change: str


class MakeTransition(Protocol):
    """Makes the transition of one action."""

    def __call__(self, context: Context, current: CurrentState, /) -> Transition:
        """Return the transition, or raise when the action is refused. Nothing is changed yet."""


def perform(
    context: Context,
    services: Mapping[str, Definition | None],
    make: MakeTransition,
    *,
    wait_seconds: float,
    plan_only: bool = False,
) -> Finished:
    """Carry out one action on services, under their locks: as one change, on all of them or on none.

    `services` has the definition of each in the file (None: absent or invalid). With `plan_only`, report what the action would
    do, and change nothing.
    """
    began = context.clock.monotonic()
    locked = locked_to_preview if plan_only else locked_and_recovered
    with locked(context, sorted(services), wait_seconds) as is_late:
        change, again = secrets.token_hex(4), is_late or wait_seconds > 0
        current = {one: _current(context, one, services[one], change, again=again) for one in sorted(services)}
        found = [make(context, one) for one in current.values()]
        transitions = [one for one in found if not one.changes_nothing]
        unchanged = [one for one in found if one.changes_nothing]
        texts = [f"{one.service} is {_state(one)}; nothing to do" for one in unchanged]
        if not transitions:
            return nothing_to_do(context, unchanged, "\n".join(texts), began)
        skipped = tuple(result(one, changed=False) for one in unchanged)
        for text in texts:
            context.output.emit(Notice(text=text))
        report_none_running(context, unchanged)
        if plan_only:
            return preview(context, transitions, began)
        first = transitions[0]
        if first.only_recorded:  # by an action on one service
            started = msgspec.structs.replace(first.new, stopped=None)
            count = wanted_count(started, current[first.service].defined or first.definition)
            return _record(context, first, count, began)
        finished = carry_out(context, transitions, change, began)
        return msgspec.structs.replace(finished, services=(*finished.services, *skipped))


def _current(context: Context, service: str, defined: Definition | None, change: str, *, again: bool) -> CurrentState:
    if again and defined is not None:
        defined = read_again(context, defined)
    wanted = context.store.wanted(service)
    replicas = wanted.without_retiring(context.runtime.containers(service).replicas)
    return CurrentState(wanted=wanted, replicas=replicas, defined=defined, change=change)


def _record(context: Context, transition: Transition, count: int, began: float) -> Finished:
    """Store the wanted state of a service that stays stopped, and will start with `count` replicas."""
    old, new = transition.old, transition.new
    context.store.write_wanted(new)
    context.history.append(
        HistoryEntry(
            at=context.clock.now(), service=transition.service, action=transition.action, outcome=Outcome.DONE,
            who=current_user(), command=context.command, change=new.change, from_=old.live.revision,
            to=new.live.revision, count=0,
        )
    )  # fmt: skip
    start = f"conductor service start --id {transition.service}"
    return Finished(
        text=f"{transition.service} is stopped; to start it with {replicas_text(count)}, run {start}"
        if count
        else f"{transition.service} is stopped, and its count is now 0",
        seconds=context.clock.monotonic() - began,
        services=(result(transition, changed=True),),
    )


def rollback(revision: str | None) -> MakeTransition:
    """Return to a kept release (default: the one before the live one, further back after a rollback), with its own definition and image. No registry is needed unless the image was removed."""

    def make(context: Context, current: CurrentState) -> Transition:
        _refuse_stopped("roll back", current.wanted)
        target = rollback_target(current.wanted, revision)
        release = msgspec.structs.replace(target, id=current.change)
        definition = restore(current.wanted.service, release.definition)
        transition = replace(
            "rollback", current.wanted, definition, release, current.replicas, keep_releases=context.host.keep,
            count_from=current.defined,
        )  # fmt: skip
        new = after_rollback(transition.new, current.wanted, target)
        return msgspec.structs.replace(transition, new=new)

    return make


def restart(context: Context, current: CurrentState) -> Transition:
    """Replace all replicas of the live revision, with the definition that the file has now."""
    _refuse_stopped("restart", current.wanted)
    live, definition = current.wanted.live, current.defined
    if definition is None:
        raise ConductorError(
            f"cannot restart {current.wanted.service}: it is not defined, or its definition is invalid"
        )
    if image_changed(live, definition):
        raise ConductorError(
            f"cannot restart {definition.id}: its image changed from {live.image} to {definition.service.image}",
            f"conductor service upgrade --id {definition.id} --revision {live.revision}",
        )
    release = msgspec.structs.replace(
        live, id=current.change, digest=definition.digest, definition=definition.written,
        template=read_template(definition),
    )  # fmt: skip
    return replace("restart", current.wanted, definition, release, current.replicas, keep_releases=context.host.keep)


def start(context: Context, current: CurrentState) -> Transition:
    """Start a stopped service, or the missing replicas of a running one."""
    return _resize(context, "start", current, msgspec.structs.replace(current.wanted, stopped=None))


def stop(reason: str) -> MakeTransition:
    """Stop all replicas until the service is started again."""

    def make(context: Context, current: CurrentState) -> Transition:
        hold = current.wanted.stopped or Hold(reason=reason, who=current_user(), since=context.clock.now())
        transition = _resize(context, "stop", current, msgspec.structs.replace(current.wanted, stopped=hold))
        return msgspec.structs.replace(transition, reason=hold.reason)

    return make


def scale(count: int | None) -> MakeTransition:
    """Run `count` replicas; None returns to the count of the definition."""

    def make(context: Context, current: CurrentState) -> Transition:
        return _resize(context, "scale", current, msgspec.structs.replace(current.wanted, scale=count))

    return make


def maintenance_on(message: str | None) -> MakeTransition:
    """Answer every request with 503 and a page with `message` (None: that of the present maintenance, or the default). A second
    call replaces message and page; who began the maintenance and when stays."""

    def make(context: Context, current: CurrentState) -> Transition:
        before, definition = current.wanted.maintenance, _routed_definition(current.wanted)
        new = Maintenance(
            reason=message or (before.reason if before else MAINTENANCE_MESSAGE),
            who=before.who if before else current_user(),
            since=before.since if before else context.clock.now(),
            template=read_maintenance_page(current.defined or definition),
        )
        return _maintain(context, "maintenance-on", current, definition, new)

    return make


def maintenance_off(context: Context, current: CurrentState) -> Transition:
    """Send requests to the replicas again."""
    return _maintain(context, "maintenance-off", current, _routed_definition(current.wanted), None)


def _maintain(
    context: Context,
    action: ChangeAction,
    current: CurrentState,
    definition: Definition,
    maintenance: Maintenance | None,
) -> Transition:
    new = msgspec.structs.replace(current.wanted, maintenance=maintenance, change=current.change)
    live = [one for one in current.replicas if one.release == new.live.id]
    failing = unfit(context.health, definition.service.health, live)
    return maintain(action, current.wanted, new, definition, current.replicas, unfit=failing)


def _routed_definition(wanted: Wanted) -> Definition:
    """Return the definition of the live release. Raise if nginx is not in it."""
    definition = restore(wanted.service, wanted.live.definition)
    if definition.service.nginx is None:
        raise ConductorError(
            f"cannot start or end maintenance for {wanted.service}: the definition of the live release has no `nginx` key"
        )
    return definition


def _state(transition: Transition) -> str:
    if transition.action in MAINTENANCE:
        return "already in maintenance with this message" if transition.new.maintenance else "not in maintenance"
    return "already stopped" if transition.new.stopped else f"already at {replicas_text(transition.count)}"


def _resize(context: Context, action: ChangeAction, current: CurrentState, new: Wanted) -> Transition:
    definition = restore(new.service, new.live.definition)
    new = msgspec.structs.replace(new, change=current.change)
    live = [one for one in current.replicas if one.release == new.live.id and not new.stopped]
    return resize(
        action, current.wanted, new, definition, current.replicas, count_from=current.defined,
        unfit=unfit(context.health, definition.service.health, live),
    )  # fmt: skip


def _refuse_stopped(action: str, wanted: Wanted) -> None:
    try:
        refuse_stopped(wanted)
    except ConductorError as error:
        raise error.within(f"{action} {wanted.service}") from error
