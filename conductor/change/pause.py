"""`supervise pause` and `resume`. The pause is part of the wanted state, so it survives a reboot."""

import msgspec

from conductor.caller import current_user
from conductor.change.context import Context
from conductor.change.recover import locked_and_recovered
from conductor.output.events import Finished, ServiceResult
from conductor.plan.history import HistoryAction, HistoryEntry, Outcome
from conductor.plan.release import Hold
from conductor.state.supervisor_status import NOT_RUNNING, START_SUPERVISE, SUPERVISE_LOCK
from conductor.times import time_text


def pause(context: Context, service: str, reason: str, seconds: float | None, wait_seconds: float) -> Finished:
    """Pause a service for `seconds`, or until `resume`. A second pause replaces the first."""
    with locked_and_recovered(context, [service], wait_seconds):  # `supervise` recovers nothing of a paused service
        until = None if seconds is None else context.clock.later(seconds)  # waiting and recovering may have taken long
        _write(
            context, service, "pause", Hold(reason=reason, who=current_user(), since=context.clock.now(), until=until)
        )
    return _finished(
        service,
        "pause",
        f"{service} is paused until {time_text(until) if until else 'it is resumed'}: {reason}; supervise will not act on it, even after a reboot",
        changed=True,
    )


def resume(context: Context, service: str, wait_seconds: float) -> Finished:
    """End a pause."""
    if context.store.wanted(service).paused is None:
        return _finished(service, "resume", f"{service} is not paused; nothing to do", changed=False)
    with locked_and_recovered(context, [service], wait_seconds):
        _write(context, service, "resume", None)
    text = f"{service} is supervised again"
    if not context.locks.is_held(SUPERVISE_LOCK):
        text = f"{service} is no longer paused, but {NOT_RUNNING}, so failed containers are not replaced; run {START_SUPERVISE}"
    return _finished(service, "resume", text, changed=True)


def _write(context: Context, service: str, action: HistoryAction, hold: Hold | None) -> None:
    """Store the pause, or its end. The service is locked."""
    context.store.write_wanted(msgspec.structs.replace(context.store.wanted(service), paused=hold))
    context.history.append(
        HistoryEntry(
            at=context.clock.now(), service=service, action=action, outcome=Outcome.DONE, who=current_user(),
            command=context.command, reason=hold.reason if hold else "", until=hold.until if hold else None,
        )
    )  # fmt: skip


def _finished(service: str, action: HistoryAction, text: str, *, changed: bool) -> Finished:
    return Finished(text=text, seconds=0.0, services=(ServiceResult(service=service, action=action, changed=changed),))
