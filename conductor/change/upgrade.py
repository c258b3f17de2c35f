"""`service upgrade` as its own runbook (DESIGN section 5): resolve, decide, check, then walk the plan."""

import secrets
from collections.abc import Callable

import msgspec

from conductor.change.checks import check
from conductor.change.doors import Doors, who
from conductor.change.settle import settle
from conductor.change.steps import Change
from conductor.definitions.model import Definition
from conductor.errors import ConductorError, Interrupted, OperatorError
from conductor.plan.upgrade import Plan, StepName, decide, release, wanted_count
from conductor.plan.values import Container, Journal, Release, Wanted
from conductor.proxy.render import Site
from conductor.report.events import Began, Ended, Finished, Told, Waiting

UNDO_HINT = "mend that; the next command on this service finishes the undoing"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says beyond id and revision."""

    plan_only: bool = False
    force: bool = False
    wait_seconds: float = 0.0


def upgrade(doors: Doors, definition: Definition, revision: str, options: Options) -> Finished:
    """Move one service to a revision; an error leaves what ran running, and says so."""
    began = doors.clock.monotonic()
    with doors.locks.hold(definition.id, options.wait_seconds):
        if not options.plan_only:
            settle(doors, definition.id)
        elif doors.store.journal(definition.id) is not None:
            doors.report.emit(Told(f"a change of {definition.id} died; it would be settled first"))
        wanted = doors.store.wanted(definition.id)
        try:
            new = release(definition, revision, _image(doors, definition, revision, options), secrets.token_hex(4))
            containers = doors.engine.containers(definition.id)
            healthy = _live_is_healthy(doors, wanted, definition, containers)
            plan = decide(wanted, definition, new, containers, healthy=healthy, force=options.force)
            if options.plan_only or not plan.steps:
                return _told(doors, plan, began)
            change = _begin(doors, definition, wanted, new, containers)
        except ConductorError as error:
            _refused(doors, definition.id, wanted, revision, error)
            raise _still_running(doors, definition.id, wanted, error) from None
        return _walk(change, plan, wanted, began)


def _image(doors: Doors, definition: Definition, revision: str, options: Options) -> str:
    reference = f"{definition.service.image}:{revision}"
    found = doors.engine.image_id(reference)
    if found is None and options.plan_only:
        doors.report.emit(Told(f"{'pull':>8}  fetch {reference}"))
    elif found is None:
        doors.report.emit(Began("pull", f"fetch {reference}"))
        began = doors.clock.monotonic()

        def progress(text: str) -> None:
            doors.clock.check()
            doors.report.emit(Waiting("pull", text))

        found = doors.engine.pull(reference, progress)
        doors.report.emit(Ended("pull", doors.clock.monotonic() - began))
    return found or ""


def _live_is_healthy(doors: Doors, wanted: Wanted, definition: Definition, containers: tuple[Container, ...]) -> bool:
    """At full count and no more, each answering, and nginx at exactly these."""
    live = [c for c in containers if c.kind == "service"]
    health = definition.service.health
    if wanted.release is None or len(live) != wanted_count(wanted, definition):
        return False
    if not all(c.running and c.change == wanted.release.change for c in live):
        return False
    if definition.service.nginx and not doors.proxy.in_force((Site(definition, tuple(c.address for c in live)),)):
        return False
    return health is None or all(check(doors, c, health).ok for c in live)


def _begin(
    doors: Doors, definition: Definition, wanted: Wanted, new: Release, containers: tuple[Container, ...]
) -> Change:
    """Everything that can be refused is refused here; then the intent goes to the journal."""
    before = tuple(c.address for c in containers if c.kind == "service" and c.running and c.address)
    journal = Journal(
        change=new.change,
        service=definition.id,
        action="upgrade",
        command=doors.command,
        who=who(),
        began=doors.clock.now(),
        old=wanted.release,
        new=new,
        before=before,
    )
    change = Change(doors, journal)
    change.read_secrets()
    if definition.service.publish:
        doors.engine.check_ports(*definition.service.publish)
    if definition.service.nginx:
        doors.proxy.check((Site(definition, before),))
    change.note()
    return change


def _walk(change: Change, plan: Plan, wanted: Wanted, began: float) -> Finished:
    doors, service = change.doors, change.journal.service
    walk: dict[StepName, Callable[[], None]] = {
        "start": change.start, "gate": change.gate, "cutover": change.cutover, "commit": change.commit,
        "drain": change.drain, "retire": change.retire, "record": lambda: change.end("done"),
    }  # fmt: skip
    committed = False
    try:
        for step in plan.steps:
            if not committed:
                doors.clock.check()
            with change.step(step.name, step.text):
                walk[step.name]()
            committed = committed or step.name == "commit"
    except BaseException as error:
        if not committed:
            _undo(change, wanted, error)
        elif isinstance(error, ConductorError):
            raise _unfinished(change, error) from error
        raise
    revision, count = change.journal.new.revision, len(change.journal.after)
    text = f"{service} runs {revision}: {count} of {count} healthy"
    if change.must_act:
        text += f"; remove by hand: {', '.join(change.must_act)}"
    seconds = doors.clock.monotonic() - began
    return Finished(text, seconds, change.warnings, 4 if change.must_act else 0)


def _unfinished(change: Change, error: ConductorError) -> OperatorError:
    service, revision = change.journal.service, change.journal.new.revision
    return OperatorError(
        f"{service} runs {revision}, but the upgrade could not be finished: {error.sentence}",
        "mend that; the next command on this service drains and removes what is left",
        error.details,
    )


def _undo(change: Change, wanted: Wanted, error: BaseException) -> None:
    """Undo, and raise the error with what still runs; details of the first error stay the first thing told."""
    doors, service = change.doors, change.journal.service
    doors.report.emit(Told(f"undoing the upgrade of {service}"))
    try:
        change.undo("interrupted, undone" if isinstance(error, Interrupted) else "failed, undone")
    except ConductorError as second:
        first, details = str(error), second.details
        if isinstance(error, ConductorError):
            first, details = error.sentence, (*error.details, *second.details)
        told = (*details, second.hint) if second.hint else details
        both = ConductorError(f"{first}; then the undoing failed: {second.sentence}", UNDO_HINT, told)
        raise _still_running(doors, service, wanted, both) from error
    if isinstance(error, Interrupted):
        raise Interrupted(error.signal_number, _what_runs(doors, service, wanted)) from error
    if isinstance(error, ConductorError):
        _still_running(doors, service, wanted, error)


def _still_running(doors: Doors, service: str, wanted: Wanted, error: ConductorError) -> ConductorError:
    error.sentence = f"cannot upgrade {service}: {error.sentence}"
    error.details = (*error.details, _what_runs(doors, service, wanted))
    return error


def _what_runs(doors: Doors, service: str, wanted: Wanted) -> str:
    if wanted.release is None:
        return f"nothing of {service} ran before, and nothing does now"
    try:
        running = [c for c in doors.engine.containers(service) if c.running and c.change == wanted.release.change]
    except ConductorError:
        return f"{service} {wanted.release.revision} was not touched"
    count = f"{len(running)} container{'s' * (len(running) != 1)}"
    return f"{service} {wanted.release.revision} still runs: {count}"


def _refused(doors: Doors, service: str, wanted: Wanted, revision: str, error: ConductorError) -> None:
    line = {
        "at": doors.clock.now(), "who": who(), "command": doors.command, "action": "upgrade", "service": service,
        "from": wanted.release.revision if wanted.release else None, "to": revision,
        "outcome": "refused", "reason": error.sentence,
    }  # fmt: skip
    try:
        doors.store.record(line)
    except ConductorError:
        return  # the reason itself is what the user must read


def _told(doors: Doors, plan: Plan, began: float) -> Finished:
    for step in plan.steps:
        doors.report.emit(Told(f"{step.name:>8}  {step.text}"))
    text = plan.nothing or "this is the plan; nothing was done"
    return Finished(text, doors.clock.monotonic() - began, 0, 0)
