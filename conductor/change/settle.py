"""A change that died: the next command finishes it when it was committed, and undoes it when it was not (DESIGN 5.1)."""

from conductor.change.doors import Doors
from conductor.change.steps import Change
from conductor.errors import ConductorError
from conductor.report.events import Told


def settle(doors: Doors, service: str) -> None:
    """Leave no change under way; called under the service's lock."""
    journal = doors.store.journal(service)
    if journal is None:
        return
    change = Change(doors, journal)
    live = doors.store.wanted(service).release
    committed = live is not None and live.change == journal.change
    what = f"the {journal.action} of {service} to {journal.new.revision}, begun {journal.began}, died"
    doors.report.emit(Told(f"{what}: {'finishing' if committed else 'undoing'} it first"))
    try:
        if committed:
            finish(change)
        else:
            change.undo("undone after a crash")
    except ConductorError as error:
        raise ConductorError(f"{what} and cannot be settled: {error.sentence}", error.hint, error.details) from error


def finish(change: Change) -> None:
    """What is left to do after a commit, on state that may have been done in part."""
    with change.doors.clock.shielded():
        change.resume()
        change.drain()
        change.retire()
        change.end("done, finished after a crash")
