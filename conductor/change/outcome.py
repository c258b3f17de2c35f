"""What an action reports about each service at its end."""

from collections.abc import Sequence

from conductor.change.context import Context
from conductor.output.events import Finished, Notice, ServiceResult
from conductor.plan.steps import replicas_text
from conductor.plan.transition import Transition


def result(transition: Transition, *, changed: bool) -> ServiceResult:
    """Return what a transition did, for scripts."""
    old = transition.old.release
    return ServiceResult(
        service=transition.service,
        action=transition.action,
        changed=changed,
        from_=old.revision if old else None,
        to=transition.new.live.revision,
    )


def report_none_running(context: Context, transitions: Sequence[Transition]) -> None:
    """Report each service that should run and has no replicas, because an operator scaled it to 0."""
    for one in transitions:
        if one.runs_none:
            reset = f"conductor service scale --id {one.service} --reset"
            text = f"{one.service} was scaled to 0 by an operator, so no replicas are running"
            context.output.emit(Notice(text=f"{text}; to return to the count in the definitions file, run {reset}"))


def nothing_to_do(context: Context, transitions: Sequence[Transition], text: str, began: float) -> Finished:
    """Return the end of an action that changes nothing."""
    report_none_running(context, transitions)
    return Finished(
        text=text,
        seconds=context.clock.monotonic() - began,
        services=tuple(result(one, changed=False) for one in transitions),
    )


def outcome(transition: Transition) -> str:
    """Return what runs after a transition, as text."""
    text, comma = f"{transition.service} is stopped", ""
    if transition.new.stopped is None:
        verb = "is running" if transition.count else "is at"
        text = f"{transition.service} {verb} {transition.new.live.revision} with {replicas_text(transition.count)}"
        if unfit := sum(one.id in transition.unfit for one in transition.keep):
            text, comma = f"{text}, {'which is' if transition.count == 1 else f'{unfit} of them'} unhealthy", ","
    return text + f"{comma} and is in maintenance: nginx returns 503" * bool(transition.new.maintenance)
