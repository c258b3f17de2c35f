"""Recovers an interrupted change: a committed one is finished, any other is rolled back."""

import contextlib
from collections.abc import Collection, Iterator

from conductor.change.context import Context
from conductor.change.hooks import await_hooks
from conductor.change.rollback import roll_back
from conductor.change.service_change import ServiceChange
from conductor.change.steps import ChangeSteps
from conductor.errors import BusyError, ConductorError, Interrupted, LockHolder
from conductor.output.events import Notice
from conductor.plan.history import Outcome
from conductor.plan.journal import Journal, noun, to_revision
from conductor.times import time_text


@contextlib.contextmanager
def locked_and_recovered(context: Context, services: Collection[str], wait_seconds: float) -> Iterator[bool]:
    """Hold the locks of `services`, with no interrupted change left in any of them. Yield whether that took time: a file that
    was read before may have been replaced.

    An interrupted change may include other services. Their locks are taken in the same order, with the same wait, and
    released once the change is recovered.
    """
    waited, recovered = context.locks.waited, False
    while True:
        others = {other for service in services for other in _changed_together(context, service)}.difference(services)
        with contextlib.ExitStack() as locks:
            for service in sorted({*services, *others}):
                _lock(locks, context, service, wait_seconds)
            for service in services:
                recovered = recover(context, service) or recovered
            if not others:
                yield recovered or context.locks.waited > waited
                return


def _lock(locks: contextlib.ExitStack, context: Context, service: str, wait_seconds: float) -> None:
    try:
        locks.enter_context(context.locks.hold(service, wait_seconds))
    except BusyError as busy:  # other locks are not waited for with --wait
        raise BusyError(service, busy.holder, "wait for it with --wait 5m") from busy


@contextlib.contextmanager
def locked_to_preview(context: Context, services: Collection[str], wait_seconds: float) -> Iterator[bool]:
    """Hold the locks of `services` for `--plan`, which recovers no interrupted change. Yield as `locked_and_recovered` does.

    A plan changes nothing: a lock that is not free within `wait_seconds` is no error, but the state may change meanwhile.
    Without a wait, nothing is waited for: `supervise` stops a repair when a command waits for the lock.
    """
    waited = context.locks.waited
    with contextlib.ExitStack() as locks:
        for service in services:
            if not wait_seconds and context.locks.is_held(service):
                _report_busy(context, service, context.locks.holder(service))
                continue
            try:
                locks.enter_context(context.locks.hold(service, wait_seconds))
            except BusyError as busy:
                _report_busy(context, service, busy.holder)
                continue
            if context.store.journal(service) is not None:
                text = f"{service} has an interrupted change; without --plan, this command would recover it first"
                context.output.emit(Notice(text=text))
        yield context.locks.waited > waited


def _report_busy(context: Context, service: str, holder: LockHolder | None) -> None:
    by = (
        f" by process {holder.pid} ({holder.command}), which has held the service's lock since {time_text(holder.since)}"
        if holder
        else ""
    )
    context.output.emit(Notice(text=f"{service} is being changed{by}; the plan is for its current state"))


def _changed_together(context: Context, service: str) -> tuple[str, ...]:
    journal = context.store.journal(service)
    return journal.services if journal else ()


def recover(context: Context, service: str) -> bool:
    """Recover an interrupted change of `service`, whose lock is held; False when there is none. The other services of that
    change are locked here."""
    journal = context.store.journal(service)
    if journal is None:
        return False
    with contextlib.ExitStack() as locks:
        for other in sorted(set(journal.services) - context.locks.held):
            locks.enter_context(context.locks.hold(other))
        _recover(context, journal)
    return True


def _recover(context: Context, journal: Journal) -> None:
    what = f"{noun(journal.action, journal.services)}{to_revision(journal.action, journal.release.revision)}"
    change = f"the {what}, which started at {time_text(journal.began)}"
    try:
        journals = [context.store.journal(service) for service in journal.services]
        services = [ServiceChange(context, one) for one in journals if one is not None and one.change == journal.change]
        steps = ChangeSteps(context, services)
        committed = any(context.store.wanted(service).change == journal.change for service in journal.services)
        context.output.emit(
            Notice(text=f"{change}, was interrupted: {'finishing it' if committed else 'rolling it back'}")
        )
        for one in services:
            await_hooks(one)  # which may take long: Ctrl-C ends the wait, and the next command waits again
        if committed:
            _finish(steps)
        else:
            roll_back(steps, Outcome.RECOVERED_ROLLED_BACK)
    except Interrupted:
        raise
    except ConductorError as error:
        raise error.within(f"recover {change}") from error


def _finish(steps: ChangeSteps) -> None:
    """Run the steps after the commit; some may be done already. If one fails, the next command runs them again."""
    steps.resume()
    steps.drain()
    steps.retire()
    steps.crontab()
    steps.end(Outcome.RECOVERED)
