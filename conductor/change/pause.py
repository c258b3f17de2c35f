"""`supervise pause` and `resume`. The pause is part of the wanted state, so it survives a reboot."""

import msgspec

from conductor.caller import current_user
from conductor.change.context import Context
from conductor.change.recover import locked_and_recovered
from conductor.output.events import Finished, ServiceResult
from conductor.plan.history import HistoryAction, HistoryEntry, Outcome
from conductor.plan.release import Hold


def pause(context: Context, service: str, reason: str, seconds: float | None, wait_seconds: float) -> Finished:
    """Pause a service for `seconds`, or until `resume`. A second pause replaces the first."""
    until = None if seconds is None else context.clock.later(seconds)
    hold = Hold(reason=reason, who=current_user(), since=context.clock.now(), until=until)
    _write(context, service, "pause", hold, wait_seconds)
    return _finished(
        service,
        "pause",
        f"{service} is paused until {until or 'it is resumed'}: {reason}; its replicas are not restarted, even after a reboot",
        changed=True,
    )


def resume(context: Context, service: str, wait_seconds: float) -> Finished:
    """End a pause."""
    if context.store.wanted(service).paused is None:
        return _finished(service, "resume", f"{service} is not paused; nothing to do", changed=False)
    _write(context, service, "resume", None, wait_seconds)
    return _finished(service, "resume", f"{service} is supervised again", changed=True)


def _write(context: Context, service: str, action: HistoryAction, hold: Hold | None, wait_seconds: float) -> None:
    with locked_and_recovered(context, [service], wait_seconds):  # `supervise` recovers nothing of a paused service
        wanted = context.store.wanted(service)
        context.store.write_wanted(msgspec.structs.replace(wanted, paused=hold))
        context.history.append(
            HistoryEntry(
                at=context.clock.now(), service=service, action=action, outcome=Outcome.DONE, who=current_user(),
                command=context.command, reason=hold.reason if hold else "", until=hold.until if hold else None,
            )
        )  # fmt: skip


def _finished(service: str, action: HistoryAction, text: str, *, changed: bool) -> Finished:
    return Finished(text=text, seconds=0.0, services=(ServiceResult(service=service, action=action, changed=changed),))
