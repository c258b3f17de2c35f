"""Recovers an interrupted change: a committed one is finished, any other is rolled back."""

import contextlib
from collections.abc import Collection, Iterator

from conductor.change.context import Context
from conductor.change.hooks import await_hooks
from conductor.change.rollback import roll_back
from conductor.change.service_change import ServiceChange
from conductor.change.steps import ChangeSteps
from conductor.errors import ConductorError, Interrupted
from conductor.output.events import Notice
from conductor.plan.history import Outcome
from conductor.plan.journal import Journal


@contextlib.contextmanager
def locked_and_recovered(context: Context, services: Collection[str], wait_seconds: float) -> Iterator[None]:
    """Hold the locks of `services`, with no interrupted change left in any of them.

    An interrupted change may include other services. Their locks are taken in the same order, with the same wait, and
    released once the change is recovered.
    """
    while True:
        others = {other for service in services for other in _changed_together(context, service)}.difference(services)
        with contextlib.ExitStack() as locks:
            for service in sorted({*services, *others}):
                locks.enter_context(context.locks.hold(service, wait_seconds))
            for service in services:
                recover(context, service)
            if not others:
                yield
                return


def _changed_together(context: Context, service: str) -> tuple[str, ...]:
    journal = context.store.journal(service)
    return journal.services if journal else ()


def recover(context: Context, service: str) -> None:
    """Recover an interrupted change of `service`, whose lock is held. The other services of that change are locked here."""
    journal = context.store.journal(service)
    if journal is None:
        return
    with contextlib.ExitStack() as locks:
        for other in sorted(set(journal.services) - context.locks.held):
            locks.enter_context(context.locks.hold(other))
        _recover(context, journal)


def _recover(context: Context, journal: Journal) -> None:
    ids = ", ".join(journal.services)
    change = f"the {journal.action} of {ids} to {journal.release.revision}, started {journal.began}"
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
            roll_back(steps, Outcome.RECOVERED_BACK)
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
