"""A change as its own runbook (DESIGN section 5): everything that can be refused is refused, then the steps are walked."""

from collections.abc import Callable, Sequence

from conductor.caller import who
from conductor.change.change import Group
from conductor.change.cleanup import reap
from conductor.change.context import Context
from conductor.change.crontab import wrapped
from conductor.change.hooks import NOT_UNDONE
from conductor.change.service_change import Member
from conductor.errors import ConductorError, Interrupted, LockYielded, OperatorError
from conductor.output.events import Finished, Told
from conductor.plan.steps import Step, StepName, steps
from conductor.plan.transition import Transition
from conductor.plan.values import Journal

UNDO_HINT = "mend that; the next command on this service finishes the undoing"


def run(context: Context, transitions: Sequence[Transition], change: str, began: float) -> Finished:
    """Make `transitions` one change, under the locks of their services; an error leaves what ran running, and says so."""
    try:
        group = _begin(context, transitions, change)
    except ConductorError as error:
        raise refused(context, transitions, error) from None
    _walk(group, steps(transitions), transitions)
    text = "; ".join(_outcome(transition) for transition in transitions)
    if group.must_act:
        text += f"; remove by hand: {', '.join(group.must_act)}"
    return Finished(text, context.clock.monotonic() - began, group.warnings, 4 if group.must_act else 0)


def _begin(context: Context, transitions: Sequence[Transition], change: str) -> Group:
    """Refuse what can be refused; then the intent of all goes to the journals."""
    members = [Member(context, _journal(context, transition, change, transitions)) for transition in transitions]
    for member, transition in zip(members, transitions, strict=True):
        if transition.added:
            member.read_secrets()
        if transition.added and transition.definition.service.publish:
            context.runtime.check_ports(*transition.definition.service.publish)
    routes = tuple(member.route() for member in members if member.through_nginx)
    if routes:
        context.traffic.check(routes)
    for member, transition in zip(members, transitions, strict=True):
        if transition.installs_crontab and (not transition.new.stopped or context.crontabs.read(member.id) is not None):
            context.crontabs.check()
        wrapped(context, member.journal.release)  # of a rollback: printed when it was live
    for member in members:
        member.note()
    return Group(context, members, transitions)


def _journal(context: Context, transition: Transition, change: str, transitions: Sequence[Transition]) -> Journal:
    keep = tuple(c.address for c in transition.keep)
    return Journal(
        change=change,
        service=transition.definition.id,
        action=transition.action,
        command=context.command,
        who=who(),
        began=context.clock.now(),
        old=transition.old,
        new=transition.new,
        group=tuple(m.definition.id for m in transitions),
        why=transition.why,
        before=keep + tuple(c.address for c in transition.gone if c.running),
        keep=keep,
        after=keep,
    )


def _walk(group: Group, plan: Sequence[Step], transitions: Sequence[Transition]) -> None:
    context = group.context
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
                context.clock.check()
            committed = committed or step.name == "commit"  # from its first write on it is finished, not undone
            with group.step(step.name, step.text):
                walk[step.name]()
    except LockYielded:
        raise
    except BaseException as error:
        if committed and group.committed():
            raise _unfinished(transitions, error) from error
        _undo(group, transitions, error)
        raise


def _record(group: Group) -> None:
    group.end("done")
    for member in group.members:
        reap(group.context, member.id)


def _unfinished(transitions: Sequence[Transition], error: BaseException) -> BaseException:
    if not isinstance(error, ConductorError):
        return error
    return OperatorError(
        f"{'; '.join(_outcome(m) for m in transitions)}, but the {transitions[0].action} could not be finished: {error.sentence}",
        "mend that; the next command on this service drains and removes what is left",
        error.details,
    )


def _undo(group: Group, transitions: Sequence[Transition], error: BaseException) -> None:
    """Undo, and tell with the error what still runs; details of the first error stay the first thing told."""
    context = group.context
    context.report.emit(Told(f"undoing the {transitions[0].action} of {_names(transitions)}"))
    try:
        group.undo("interrupted, undone" if isinstance(error, Interrupted) else "failed, undone")
    except ConductorError as second:
        first, details = str(error), second.details
        if isinstance(error, ConductorError):
            first, details = error.sentence, (*error.details, *second.details)
        told = (*details, second.hint) if second.hint else details
        both = ConductorError(f"{first}; then the undoing failed: {second.sentence}", UNDO_HINT, told)
        raise _explain(context, transitions, both) from error
    if isinstance(error, ConductorError):
        ran = [member.id for member in group.members if "hook" in member.journal.steps]
        if any(transition.hook for transition in transitions) and ran:
            error.details = (*error.details, f"before_upgrade {NOT_UNDONE}")
        if group.must_act:
            error.details = (*error.details, f"left over, see to it by hand: {', '.join(group.must_act)}")
        _explain(context, transitions, error)


def refused(context: Context, transitions: Sequence[Transition], error: ConductorError) -> ConductorError:
    """Nothing was changed: a line in the history, and the error with what runs."""
    for transition in transitions:
        release, to = transition.old.release, transition.new.release
        line = {
            "at": context.clock.now(), "who": who(), "command": context.command, "action": transition.action,
            "service": transition.definition.id, "from": release.revision if release else None,
            "to": to.revision if to else None, "outcome": "refused", "reason": error.sentence,
        }  # fmt: skip
        try:
            context.store.record(line)
        except ConductorError:
            break  # the reason itself is what the user must read
    return _explain(context, transitions, error)


def _explain(context: Context, transitions: Sequence[Transition], error: ConductorError) -> ConductorError:
    if not isinstance(error, Interrupted):
        error.sentence = f"cannot {transitions[0].action} {_names(transitions)}: {error.sentence}"
    error.details = (*error.details, *(_what_runs(context, transition) for transition in transitions))
    return error


def _what_runs(context: Context, transition: Transition) -> str:
    service, release = transition.definition.id, transition.old.release
    if release is None:
        return f"nothing of {service} ran before, and nothing does now"
    try:
        running = [c for c in context.runtime.containers(service) if c.running and c.change == release.change]
    except ConductorError:
        return f"what runs of {service} cannot be seen now; the committed release is {release.revision}"
    return f"{service} {release.revision} still runs: {len(running)} container{'s' * (len(running) != 1)}"


def _names(transitions: Sequence[Transition]) -> str:
    return ", ".join(transition.definition.id for transition in transitions)


def _outcome(transition: Transition) -> str:
    if transition.new.stopped is not None:
        return f"{transition.definition.id} is stopped"
    revision = transition.new.release.revision if transition.new.release else "nothing"
    return f"{transition.definition.id} runs {revision}: {transition.count} of {transition.count} healthy"
