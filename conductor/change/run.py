"""A change as its own runbook (DESIGN section 5): everything that can be refused is refused, then the steps are walked."""

from collections.abc import Callable, Sequence

from conductor.caller import who
from conductor.change.crontab import wrapped
from conductor.change.doors import Doors
from conductor.change.group import Group
from conductor.change.hook import NOT_UNDONE
from conductor.change.member import Member
from conductor.change.reap import reap
from conductor.errors import ConductorError, GivenUp, Interrupted, OperatorError
from conductor.plan.moves import Move
from conductor.plan.steps import Step, StepName, steps
from conductor.plan.values import Journal
from conductor.report.events import Finished, Told

UNDO_HINT = "mend that; the next command on this service finishes the undoing"


def run(doors: Doors, moves: Sequence[Move], change: str, began: float) -> Finished:
    """Make `moves` one change, under the locks of their services; an error leaves what ran running, and says so."""
    try:
        group = _begin(doors, moves, change)
    except ConductorError as error:
        raise refused(doors, moves, error) from None
    _walk(group, steps(moves), moves)
    text = "; ".join(_outcome(move) for move in moves)
    if group.must_act:
        text += f"; remove by hand: {', '.join(group.must_act)}"
    return Finished(text, doors.clock.monotonic() - began, group.warnings, 4 if group.must_act else 0)


def _begin(doors: Doors, moves: Sequence[Move], change: str) -> Group:
    """Refuse what can be refused; then the intent of all goes to the journals."""
    members = [Member(doors, _journal(doors, move, change, moves)) for move in moves]
    for member, move in zip(members, moves, strict=True):
        if move.added:
            member.read_secrets()
        if move.added and move.definition.service.publish:
            doors.engine.check_ports(*move.definition.service.publish)
    sites = tuple(member.site() for member in members if member.through_nginx)
    if sites:
        doors.proxy.check(sites)
    for member, move in zip(members, moves, strict=True):
        if move.installs_crontab and (not move.new.stopped or doors.crontabs.read(member.id) is not None):
            doors.crontabs.check()
        wrapped(doors, member.journal.release)  # of a rollback: printed when it was live
    for member in members:
        member.note()
    return Group(doors, members, moves)


def _journal(doors: Doors, move: Move, change: str, moves: Sequence[Move]) -> Journal:
    keep = tuple(c.address for c in move.keep)
    return Journal(
        change=change,
        service=move.definition.id,
        action=move.action,
        command=doors.command,
        who=who(),
        began=doors.clock.now(),
        old=move.old,
        new=move.new,
        group=tuple(m.definition.id for m in moves),
        why=move.why,
        before=keep + tuple(c.address for c in move.gone if c.running),
        keep=keep,
        after=keep,
    )


def _walk(group: Group, plan: Sequence[Step], moves: Sequence[Move]) -> None:
    doors = group.doors
    walk: dict[StepName, Callable[[], None]] = {
        "generate": group.generate,
        "hook": group.hook,
        "start": group.start,
        "gate": group.gate,
        "swap": group.swap,
        "cutover": group.cutover,
        "commit": group.commit,
        "drain": group.drain,
        "retire": group.retire,
        "crontab": group.crontab,
        "record": lambda: _record(group),
    }
    committed = False
    try:
        for step in plan:
            if not committed:
                doors.clock.check()
            committed = committed or step.name == "commit"  # from its first write on it is finished, not undone
            with group.step(step.name, step.text):
                walk[step.name]()
    except GivenUp:
        raise
    except BaseException as error:
        if committed and group.committed():
            raise _unfinished(moves, error) from error
        _undo(group, moves, error)
        raise


def _record(group: Group) -> None:
    group.end("done")
    for member in group.members:
        reap(group.doors, member.id)


def _unfinished(moves: Sequence[Move], error: BaseException) -> BaseException:
    if not isinstance(error, ConductorError):
        return error
    return OperatorError(
        f"{'; '.join(_outcome(m) for m in moves)}, but the {moves[0].action} could not be finished: {error.sentence}",
        "mend that; the next command on this service drains and removes what is left",
        error.details,
    )


def _undo(group: Group, moves: Sequence[Move], error: BaseException) -> None:
    """Undo, and tell with the error what still runs; details of the first error stay the first thing told."""
    doors = group.doors
    doors.report.emit(Told(f"undoing the {moves[0].action} of {_names(moves)}"))
    try:
        group.undo("interrupted, undone" if isinstance(error, Interrupted) else "failed, undone")
    except ConductorError as second:
        first, details = str(error), second.details
        if isinstance(error, ConductorError):
            first, details = error.sentence, (*error.details, *second.details)
        told = (*details, second.hint) if second.hint else details
        both = ConductorError(f"{first}; then the undoing failed: {second.sentence}", UNDO_HINT, told)
        raise _explain(doors, moves, both) from error
    if isinstance(error, ConductorError):
        ran = [member.id for member in group.members if "hook" in member.journal.steps]
        if any(move.hook for move in moves) and ran:
            error.details = (*error.details, f"before_upgrade {NOT_UNDONE}")
        if group.must_act:
            error.details = (*error.details, f"left over, see to it by hand: {', '.join(group.must_act)}")
        _explain(doors, moves, error)


def refused(doors: Doors, moves: Sequence[Move], error: ConductorError) -> ConductorError:
    """Nothing was changed: a line in the history, and the error with what runs."""
    for move in moves:
        release, to = move.old.release, move.new.release
        line = {
            "at": doors.clock.now(), "who": who(), "command": doors.command, "action": move.action,
            "service": move.definition.id, "from": release.revision if release else None,
            "to": to.revision if to else None, "outcome": "refused", "reason": error.sentence,
        }  # fmt: skip
        try:
            doors.store.record(line)
        except ConductorError:
            break  # the reason itself is what the user must read
    return _explain(doors, moves, error)


def _explain(doors: Doors, moves: Sequence[Move], error: ConductorError) -> ConductorError:
    if not isinstance(error, Interrupted):
        error.sentence = f"cannot {moves[0].action} {_names(moves)}: {error.sentence}"
    error.details = (*error.details, *(_what_runs(doors, move) for move in moves))
    return error


def _what_runs(doors: Doors, move: Move) -> str:
    service, release = move.definition.id, move.old.release
    if release is None:
        return f"nothing of {service} ran before, and nothing does now"
    try:
        running = [c for c in doors.engine.containers(service) if c.running and c.change == release.change]
    except ConductorError:
        return f"what runs of {service} cannot be seen now; the committed release is {release.revision}"
    return f"{service} {release.revision} still runs: {len(running)} container{'s' * (len(running) != 1)}"


def _names(moves: Sequence[Move]) -> str:
    return ", ".join(move.definition.id for move in moves)


def _outcome(move: Move) -> str:
    if move.new.stopped is not None:
        return f"{move.definition.id} is stopped"
    revision = move.new.release.revision if move.new.release else "nothing"
    return f"{move.definition.id} runs {revision}: {move.count} of {move.count} healthy"
