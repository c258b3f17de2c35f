"""A change that died: the next command finishes it when it was committed, and undoes it when it was not (DESIGN 5.1)."""

import contextlib

from conductor.change.doors import Doors
from conductor.change.group import Group
from conductor.change.hook import await_hooks
from conductor.change.member import Member
from conductor.errors import ConductorError
from conductor.plan.values import Journal
from conductor.report.events import Told


def settle(doors: Doors, service: str) -> None:
    """Leave no change of `service` under way; called under its lock. Those that moved with it are locked here."""
    journal = doors.store.journal(service)
    if journal is None:
        return
    with contextlib.ExitStack() as locks:
        for other in sorted(set(journal.group) - {service}):
            if other not in doors.locks.held:
                locks.enter_context(doors.locks.hold(other))
        _settle(doors, journal)


def _settle(doors: Doors, journal: Journal) -> None:
    journals = [doors.store.journal(other) for other in journal.group]
    members = [Member(doors, found) for found in journals if found is not None and found.change == journal.change]
    committed = any(doors.store.wanted(other).change == journal.change for other in journal.group)
    what = f"the {journal.action} of {', '.join(journal.group)} begun {journal.began} died"
    doors.report.emit(Told(f"{what}: {'finishing' if committed else 'undoing'} it first"))
    group = Group(doors, members)
    for member in members:
        await_hooks(member)
    try:
        if committed:
            finish(group)
        else:
            group.undo("undone after a crash")
    except ConductorError as error:
        raise ConductorError(f"{what} and cannot be settled: {error.sentence}", error.hint, error.details) from error


def finish(group: Group) -> None:
    """What is left to do after a commit, on state that may have been done in part."""
    with group.doors.clock.shielded():
        group.resume()
        group.drain()
        group.retire()
        group.end("done, finished after a crash")
