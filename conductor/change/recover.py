"""A change that died: the next command finishes it when it was committed, and undoes it when it was not (DESIGN 5.1)."""

import contextlib
from collections.abc import Collection, Iterator

from conductor.change.change import Group
from conductor.change.context import Context
from conductor.change.hooks import await_hooks
from conductor.change.service_change import Member
from conductor.errors import ConductorError, Interrupted
from conductor.output.events import Told
from conductor.plan.values import Journal


@contextlib.contextmanager
def settled(context: Context, services: Collection[str], wait_seconds: float) -> Iterator[None]:
    """Hold the locks of `services`, with no change of them under way any more.

    A change that died may have moved others with it: their locks are taken in the same order, waited for just as long, and
    given back when it is settled.
    """
    while True:
        others = {other for service in services for other in _group(context, service)}.difference(services)
        with contextlib.ExitStack() as locks:
            for service in sorted({*services, *others}):
                locks.enter_context(context.locks.hold(service, wait_seconds))
            for service in services:
                settle(context, service)
            if not others:
                yield
                return


def _group(context: Context, service: str) -> tuple[str, ...]:
    journal = context.store.journal(service)
    return journal.group if journal else ()


def settle(context: Context, service: str) -> None:
    """Leave no change of `service` under way; called under its lock. Those that moved with it are locked here."""
    journal = context.store.journal(service)
    if journal is None:
        return
    with contextlib.ExitStack() as locks:
        for other in sorted(set(journal.group) - context.locks.held):
            locks.enter_context(context.locks.hold(other))
        _settle(context, journal)


def _settle(context: Context, journal: Journal) -> None:
    ids, revision = ", ".join(journal.group), journal.release.revision
    what = f"the {journal.action} of {ids} ({revision}), begun {journal.began}, died"
    try:
        journals = [context.store.journal(service) for service in journal.group]
        group = Group(context, [Member(context, j) for j in journals if j is not None and j.change == journal.change])
        committed = any(context.store.wanted(service).change == journal.change for service in journal.group)
        context.report.emit(Told(f"{what}: {'finishing' if committed else 'undoing'} it first"))
        for member in group.members:
            await_hooks(member)  # which may take its time: Ctrl-C ends the waiting, and the next command waits again
        if committed:
            _finish(group)
        else:
            group.undo("undone after a crash")
    except Interrupted:
        raise
    except ConductorError as error:
        raise ConductorError(f"{what} and cannot be settled: {error.sentence}", error.hint, error.details) from error


def _finish(group: Group) -> None:
    """What is left to do after a commit, on state that may have been done in part; broken off, it is left to the next."""
    group.resume()
    group.drain()
    group.retire()
    group.crontab()
    group.end("done, finished after a crash")
