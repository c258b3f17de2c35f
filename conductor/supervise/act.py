"""One corrective action on one service, under its lock.

When the lock is yielded, nothing is undone: the journal records how far the change is, and the next holder of the lock
recovers it.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence

import msgspec

from conductor.caller import current_user
from conductor.change.actions import CurrentState, restart
from conductor.change.change import carry_out
from conductor.change.cleanup import clean_up_tasks
from conductor.change.context import Context
from conductor.change.gate import GateFailed
from conductor.change.recover import recover
from conductor.change.service_change import start_at
from conductor.definitions.load import restore
from conductor.definitions.model import Definition
from conductor.definitions.unsupported import refuse_unsupported
from conductor.errors import BusyError, ConductorError, LockYielded
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.reason import describe
from conductor.plan.reconcile import Action, ApplyDrift, Observation, Recover, Repair, Reroute, Start
from conductor.plan.replica import Replica
from conductor.plan.route import Cutover, Route
from conductor.plan.transition import Transition, repair


def act(
    context: Context,
    service: str,
    action: Action,
    observation: Observation,
    change: str,
    *,
    started: Callable[[], None],
) -> bool:
    """Carry out `action` if the service is still as observed; return False when it is not, or a command waits for it.

    `change` is the id of a change that the action makes. `started` is called before anything is changed.
    """
    if isinstance(action, Recover):
        return _recover(context, service, started)
    if context.locks.has_waiters(service):
        return False
    with context.locks.hold(service):
        if context.store.wanted(service) != observation.wanted or context.store.journal(service) is not None:
            return False
        replicas = context.runtime.containers(service).replicas
        if not _is_as_observed(replicas, observation, action):
            return False
        definition, template = restore(service, observation.wanted.live.definition), observation.wanted.live.template
        started()
        match action:
            case Start():
                with _recorded(context, service, action):
                    _start(context, action.replicas)
            case Reroute():
                with _recorded(context, service, action):
                    context.traffic.switch([Route(definition, action.endpoints, template)], lambda _cutover: None)
            case ApplyDrift():
                _apply_drift(context, observation, action.definition, replicas, change)
            case Repair():
                _repair(context, observation, action, replicas, definition=definition, change=change)
    return True


def clean_up(context: Context, service: str) -> None:
    """Remove tasks whose `conductor run` is gone, unless the service is busy."""
    with contextlib.suppress(BusyError), context.locks.hold(service):
        clean_up_tasks(context, service)


def _is_as_observed(replicas: Sequence[Replica], observation: Observation, action: Action) -> bool:
    """True when the replicas are the same and those to keep run. The list may still show exited ones as running."""
    keep = {one.id for one in action.keep} if isinstance(action, Repair) else set()
    same = {one.id for one in replicas} == {one.replica.id for one in observation.replicas}
    return same and keep <= {one.id for one in replicas if one.state in {"running", "paused"}}


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


def _recover(context: Context, service: str, started: Callable[[], None]) -> bool:
    """Recover an interrupted change under the locks of all its services, unless one of them is paused."""
    journal = context.store.journal(service)
    if journal is None or any(context.locks.has_waiters(one) for one in journal.services):
        return False
    for one in journal.services:
        hold = context.store.wanted(one).paused
        if hold is not None and not hold.is_over(context.clock.now()):
            raise ConductorError(
                f"cannot recover the {journal.action} of {', '.join(journal.services)}: {one} is paused",
                details=(f"conductor supervise resume --id {one}",),
            )
    with contextlib.ExitStack() as locks:
        for one in sorted({service, *journal.services}):
            locks.enter_context(context.locks.hold(one))
        started()
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
    refuse_unsupported(context.host, definition)
    current = CurrentState(wanted=observation.wanted, replicas=replicas, defined=definition, change=change)
    transition = restart(definition)(context, current)
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
) -> None:
    """Carry out the repair. Unhealthy replicas lose their traffic at once, while their replacements start."""
    keep = {one.id for one in action.keep}
    transition = repair(
        observation.wanted, definition, replicas, keep=keep, count=action.count, change=change,
        reason=describe(action.reason),
    )  # fmt: skip
    with _rerouted(context, transition, action.serving, change):
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


class _SupersededError(Exception):
    """The cutover of the repair came first."""


@contextlib.contextmanager
def _rerouted(context: Context, transition: Transition, serving: tuple[str, ...], change: str) -> Iterator[None]:
    """Send requests to `serving` in a thread during the block. Skipped when the cutover of the repair comes at once."""
    service = transition.service

    def refuse_if_superseded(_cutover: Cutover) -> None:
        """Raise when the repair itself has switched traffic. The traffic layer calls this before it changes anything."""
        journal = context.store.journal(service)
        switched = journal is not None and journal.change == change and journal.cutover is not None
        if switched or context.store.wanted(service).change == change:
            raise _SupersededError

    def reroute() -> None:
        # The cutover of the repair follows, and reports or fixes what fails here.
        with contextlib.suppress(ConductorError, LockYielded, _SupersededError):
            context.traffic.switch(
                [Route(transition.definition, serving, transition.new.live.template)], refuse_if_superseded
            )

    if not serving or not transition.add:
        yield
        return
    thread = threading.Thread(target=reroute)
    thread.start()
    try:
        yield
    finally:
        thread.join()
