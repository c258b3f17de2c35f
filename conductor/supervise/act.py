"""One corrective action on one service, under its lock.

When the lock is yielded, nothing is undone: the journal records how far the change is, and the next holder of the lock
recovers it.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from conductor.caller import current_user
from conductor.change.actions import CurrentState, restart
from conductor.change.change import carry_out
from conductor.change.cleanup import clean_up_tasks
from conductor.change.context import Context
from conductor.change.gate import GateFailed
from conductor.change.recover import recover
from conductor.change.retiring import clean_up_retiring
from conductor.change.service_change import start_at
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError, LockYielded
from conductor.output.events import Warned
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.journal import noun
from conductor.plan.reason import describe
from conductor.plan.reconcile import Action, ApplyDrift, Condition, Observation, Recover, Repair, Reroute, Start
from conductor.plan.replica import KILLED, ContainerState, Replica
from conductor.plan.route import Route
from conductor.plan.transition import Transition, repair
from conductor.supervise.repair_traffic import Conditions, following_health
from conductor.traffic.port import edited_warning


def act(
    context: Context,
    service: str,
    action: Action,
    observation: Observation,
    change: str,
    *,
    started: Callable[[str], None],
    conditions: Conditions,
) -> bool:
    """Carry out `action` if the service is still as observed; return False when it is not, or a command waits for it.

    `change` is the id of a change that the action makes. `started` is called with the reason before anything is changed.
    """
    if isinstance(action, Recover):
        return _recover(context, service, started)
    if context.locks.has_waiters(service):
        return False
    with context.locks.hold(service):
        if context.store.wanted(service) != observation.wanted or context.store.journal(service) is not None:
            return False
        replicas = observation.wanted.without_retiring(context.runtime.containers(service).replicas)
        if not _is_as_observed(replicas, observation, action):
            return False
        wanted = observation.wanted
        definition = restore(service, wanted.live.definition)
        reason = describe(action.reason) + (
            _causes(context, observation, conditions()) if isinstance(action, Repair) else ""
        )
        started(reason)
        match action:
            case Start():
                with _recorded(context, service, action):
                    _start(context, action.replicas)
            case Reroute():
                if edited := context.traffic.edited(service):
                    context.output.emit(Warned(text=edited_warning(edited)))
                with _recorded(context, service, action):
                    route = Route(definition, action.endpoints, wanted.live.template, wanted.maintenance)
                    context.traffic.switch([route], lambda _cutover: None)
            case ApplyDrift():
                _apply_drift(context, observation, action.definition, replicas, change)
            case Repair():
                _repair(
                    context, observation, action, replicas, definition=definition, change=change, reason=reason,
                    conditions=conditions,
                )  # fmt: skip
    return True


def clean_up(context: Context, service: str) -> None:
    """Remove tasks whose `conductor run` is gone, and old replicas that have exited or whose time is over. Do nothing while the
    service is busy or paused, or if its state cannot be read."""
    with contextlib.suppress(ConductorError), context.locks.hold(service):
        if not is_paused(context, service):
            clean_up_tasks(context, service)
            clean_up_retiring(context, service, lambda text: context.output.emit(Warned(text=text)))


def is_paused(context: Context, service: str) -> bool:
    """Read, under the service's lock, whether an operator has paused it."""
    hold = context.store.wanted(service).paused
    return hold is not None and not hold.is_over(context.clock.now())


def _is_as_observed(replicas: Sequence[Replica], observation: Observation, action: Action) -> bool:
    """True when the replicas are the same and those to keep run. The list may still show exited ones as running."""
    keep = {one.id for one in action.keep} if isinstance(action, Repair) else set()
    same = {one.id for one in replicas} == {one.replica.id for one in observation.replicas}
    return same and keep <= {one.id for one in replicas if one.may_run or one.state == "paused"}


def _causes(context: Context, observation: Observation, found: Mapping[str, tuple[Condition, str]]) -> str:
    """Return how exited replicas ended and what unhealthy ones answered, one of each kind: the repair removes them, and with them
    what Docker knows. Nothing is waited for: a repair must not be late."""
    causes: dict[str, str] = {}
    for one in observation.live(Condition.EXITED):
        with contextlib.suppress(ConductorError):  # a repair does not depend on its explanation
            if (state := _end_of(one, context, observation)) is not None and not state.running:
                causes.setdefault(f" {state}", one.name)
    for one in observation.live(Condition.UNHEALTHY):
        if answer := found.get(one.id, (None, ""))[1]:
            causes.setdefault(f": {answer}", one.name)
    return "".join(f"; {name}{cause}" for cause, name in causes.items())


def _end_of(replica: Replica, context: Context, observation: Observation) -> ContainerState | None:
    """Return how an exited replica ended. An inspection is answered only once Docker has cleaned up, which delays the repair, so
    it is made only when the event had no exit code, or that of a kill, which may have been for lack of memory."""
    code = observation.exit_codes.get(replica.id, KILLED)
    if code == KILLED:
        return context.runtime.inspect_exit(replica.id, wait=False)
    return ContainerState(running=False, exit_code=code, out_of_memory=False, address="")


@contextlib.contextmanager
def _recorded(context: Context, service: str, action: Start | Reroute) -> Iterator[None]:
    """Write a history entry at the end of an action that is no change and has no journal."""
    began = context.clock.now()

    def record(outcome: Outcome, reason: str) -> None:
        context.history.append(
            HistoryEntry(
                at=context.clock.now(), service=service, action=action.name, outcome=outcome, who=current_user(),
                command=context.command, began=began, reason=reason,
            )
        )  # fmt: skip

    try:
        yield
    except (ConductorError, LockYielded) as error:
        failed = isinstance(error, ConductorError)
        with contextlib.suppress(ConductorError):  # the first error is the one to report
            record(Outcome.FAILED if failed else Outcome.STARTED, str(error) if failed else describe(action.reason))
        raise
    record(Outcome.DONE, describe(action.reason))


def _recover(context: Context, service: str, started: Callable[[str], None]) -> bool:
    """Recover an interrupted change under the locks of all its services, unless one of them is paused. A lock that a killed process
    has left is released by that alone."""
    journal = context.store.journal(service)
    services = journal.services if journal else ()
    if not context.store.is_interrupted(service) or any(context.locks.has_waiters(one) for one in services):
        return False
    with contextlib.ExitStack() as locks:
        for one in sorted({service, *services}):
            locks.enter_context(context.locks.hold(one))
        if journal is None:
            return False
        for one in journal.services:
            if is_paused(context, one):
                raise ConductorError(
                    f"cannot recover the {noun(journal.action, journal.services)}: {one} is paused",
                    details=(f"conductor supervise resume --id {one}",),
                )
        started(describe(Recover().reason))
        recover(context, service)
    return True


def _start(context: Context, replicas: Sequence[Replica]) -> None:
    """Start replicas one after the other, because other services start at the same time. All are tried before an error."""
    errors: list[ConductorError] = []
    for replica in replicas:
        context.cancellation.check()
        try:
            start_at(context, replica.id, replica.name, replica.address)
        except ConductorError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _apply_drift(
    context: Context, observation: Observation, definition: Definition, replicas: tuple[Replica, ...], change: str
) -> None:
    """Carry out what `service restart` does."""
    current = CurrentState(wanted=observation.wanted, replicas=replicas, defined=definition, change=change)
    transition = restart(context, current)
    transition = msgspec.structs.replace(transition, reason=describe(ApplyDrift(definition).reason))
    carry_out(context, [transition], change, context.clock.monotonic())


def _repair(
    context: Context,
    observation: Observation,
    action: Repair,
    replicas: tuple[Replica, ...],
    *,
    definition: Definition,
    change: str,
    reason: str,
    conditions: Conditions,
) -> None:
    """Carry out the repair. Unhealthy replicas lose their traffic at once, while their replacements start."""
    keep = {one.id for one in action.keep}
    transition = repair(
        observation.wanted, definition, replicas, keep=keep, count=action.count, change=change,
        reason=reason,
    )  # fmt: skip
    with following_health(context, transition, observation, action.serving, conditions):
        try:
            finished = carry_out(context, [transition], change, context.clock.monotonic())
        except GateFailed:
            raise
        except (ConductorError, OSError):
            _start_in_place(context, transition)
            raise
    if finished.exit_code:
        raise ConductorError(finished.text)


def _start_in_place(context: Context, transition: Transition) -> None:
    """Start exited replicas again, because no replacement can be created: nginx, a secret or a template is missing.

    Skipped while the repair is not rolled back: its new replicas may run.
    """
    if context.store.journal(transition.service) is None:
        live = transition.new.live.id
        exited = [one for one in transition.remove if not one.running and one.release == live]
        _start(context, exited[: transition.add])
