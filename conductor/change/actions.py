"""`rollback`, `restart`, `start`, `stop` and `scale`: each function makes the transition of one service."""

import secrets
from typing import Protocol

import msgspec

from conductor.caller import current_user
from conductor.change.change import carry_out, result
from conductor.change.context import Context
from conductor.change.prerequisites import read_template
from conductor.change.recover import locked_and_recovered
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.health.fitness import unfit
from conductor.output.events import Finished
from conductor.plan.journal import ChangeAction
from conductor.plan.release import Hold, Wanted
from conductor.plan.replica import Replica
from conductor.plan.steps import replicas_text
from conductor.plan.transition import Transition, refuse_stopped, replace, resize, rollback_target


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
    context: Context, service: str, make: MakeTransition, *, defined: Definition | None, wait_seconds: float
) -> Finished:
    """Carry out one action on one service, under its lock."""
    began = context.clock.monotonic()
    with locked_and_recovered(context, [service], wait_seconds):
        change = secrets.token_hex(4)
        current = CurrentState(
            wanted=context.store.wanted(service),
            replicas=context.runtime.containers(service).replicas,
            defined=defined,
            change=change,
        )
        transition = make(context, current)
        if transition.changes_nothing:
            state = "stopped" if transition.new.stopped else f"at {replicas_text(transition.count)}"
            return Finished(
                text=f"{service} is already {state}; nothing to do",
                seconds=context.clock.monotonic() - began,
                services=(result(transition, changed=False),),
            )
        return carry_out(context, [transition], change, began)


def rollback(revision: str | None) -> MakeTransition:
    """Return to a kept release, with its own definition and image. No registry is needed unless the image was removed."""

    def make(context: Context, current: CurrentState) -> Transition:
        _refuse_stopped("roll back", current.wanted)
        target = msgspec.structs.replace(rollback_target(current.wanted, revision), id=current.change)
        definition = restore(current.wanted.service, target.definition)
        return replace(
            "rollback", current.wanted, definition, target, current.replicas, keep_releases=context.host.keep,
            count_from=current.defined,
        )  # fmt: skip

    return make


def restart(definition: Definition) -> MakeTransition:
    """Replace all replicas of the live revision, with the definition that the file has now."""

    def make(context: Context, current: CurrentState) -> Transition:
        _refuse_stopped("restart", current.wanted)
        live = current.wanted.live
        if live.image != f"{definition.service.image}:{live.revision}":
            raise ConductorError(
                f"cannot restart {definition.id}: its image changed from {live.image} to {definition.service.image}",
                f"conductor service upgrade --id {definition.id} --revision {live.revision}",
            )
        release = msgspec.structs.replace(
            live, id=current.change, digest=definition.digest, definition=definition.written,
            template=read_template(definition),
        )  # fmt: skip
        return replace(
            "restart", current.wanted, definition, release, current.replicas, keep_releases=context.host.keep
        )

    return make


def start(context: Context, current: CurrentState) -> Transition:
    """Start a stopped service, or the missing replicas of a running one."""
    return _resize(context, "start", current, msgspec.structs.replace(current.wanted, stopped=None))


def stop(reason: str) -> MakeTransition:
    """Stop all replicas until the service is started again."""

    def make(context: Context, current: CurrentState) -> Transition:
        hold = current.wanted.stopped or Hold(reason=reason, who=current_user(), since=context.clock.now())
        return _resize(context, "stop", current, msgspec.structs.replace(current.wanted, stopped=hold))

    return make


def scale(count: int | None) -> MakeTransition:
    """Run `count` replicas; None returns to the count of the definition."""

    def make(context: Context, current: CurrentState) -> Transition:
        return _resize(context, "scale", current, msgspec.structs.replace(current.wanted, scale=count))

    return make


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
