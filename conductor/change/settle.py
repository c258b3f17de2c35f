"""A change that died: the next command finishes it when it was committed, and undoes it when it was not (DESIGN 5.1)."""

import contextlib
from collections.abc import Collection, Iterator

from conductor.change.doors import Doors
from conductor.change.group import Group
from conductor.change.hook import await_hooks
from conductor.change.member import Member
from conductor.errors import ConductorError, Interrupted
from conductor.plan.values import Journal
from conductor.report.events import Told


@contextlib.contextmanager
def settled(doors: Doors, services: Collection[str], wait_seconds: float) -> Iterator[None]:
    """Hold the locks of `services`, with no change of them under way any more.

    A change that died may have moved others with it: their locks are taken in the same order, waited for just as long, and
    given back when it is settled.
    """
    while True:
        others = {other for service in services for other in _group(doors, service)}.difference(services)
        with contextlib.ExitStack() as locks:
            for service in sorted({*services, *others}):
                locks.enter_context(doors.locks.hold(service, wait_seconds))
            for service in services:
                settle(doors, service)
            if not others:
                yield
                return


def _group(doors: Doors, service: str) -> tuple[str, ...]:
    journal = doors.store.journal(service)
    return journal.group if journal else ()


def settle(doors: Doors, service: str) -> None:
    """Leave no change of `service` under way; called under its lock. Those that moved with it are locked here."""
    journal = doors.store.journal(service)
    if journal is None:
        return
    with contextlib.ExitStack() as locks:
        for other in sorted(set(journal.group) - doors.locks.held):
            locks.enter_context(doors.locks.hold(other))
        _settle(doors, journal)


def _settle(doors: Doors, journal: Journal) -> None:
    ids, revision = ", ".join(journal.group), journal.release.revision
    what = f"the {journal.action} of {ids} ({revision}), begun {journal.began}, died"
    try:
        journals = [doors.store.journal(service) for service in journal.group]
        group = Group(doors, [Member(doors, j) for j in journals if j is not None and j.change == journal.change])
        committed = any(doors.store.wanted(service).change == journal.change for service in journal.group)
        doors.report.emit(Told(f"{what}: {'finishing' if committed else 'undoing'} it first"))
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
