"""`supervise pause` and `resume`: told to leave a service alone; it stands in the wanted state and survives a reboot."""

from typing import Any

import msgspec

from conductor.caller import who
from conductor.change.context import Context
from conductor.change.recover import settled
from conductor.output.events import Finished
from conductor.plan.values import Held


def pause(context: Context, service: str, reason: str, seconds: float | None, wait_seconds: float) -> Finished:
    """Until `seconds` are over, or until `resume`; a second pause replaces the first."""
    until = None if seconds is None else context.clock.later(seconds)
    held = Held(reason=reason, who=who(), since=context.clock.now(), until=until)
    _write(context, service, held, wait_seconds, {"action": "pause", "reason": reason, "until": until})
    return Finished(f"{service} is left alone until {until or 'it is resumed'}: {reason}", 0.0, 0, 0)


def resume(context: Context, service: str, wait_seconds: float) -> Finished:
    """Looked after again."""
    if context.store.wanted(service).paused is None:
        return Finished(f"{service} is not paused; nothing to do", 0.0, 0, 0)
    _write(context, service, None, wait_seconds, {"action": "resume"})
    return Finished(f"{service} is looked after again", 0.0, 0, 0)


def _write(context: Context, service: str, held: Held | None, wait_seconds: float, line: dict[str, Any]) -> None:
    with settled(context, [service], wait_seconds):  # while it is paused nobody else would
        wanted = context.store.wanted(service)
        context.store.write_wanted(msgspec.structs.replace(wanted, paused=held))
        common = {"at": context.clock.now(), "who": who(), "command": context.command, "service": service}
        context.store.record({**common, **line, "outcome": "done"})
