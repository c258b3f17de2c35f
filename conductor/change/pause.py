"""`supervise pause` and `resume`: told to leave a service alone; it stands in the wanted state and survives a reboot."""

from typing import Any

import msgspec

from conductor.caller import who
from conductor.change.doors import Doors
from conductor.change.settle import settled
from conductor.plan.values import Held
from conductor.report.events import Finished


def pause(doors: Doors, service: str, reason: str, seconds: float | None, wait_seconds: float) -> Finished:
    """Until `seconds` are over, or until `resume`; a second pause replaces the first."""
    until = None if seconds is None else doors.clock.later(seconds)
    held = Held(reason=reason, who=who(), since=doors.clock.now(), until=until)
    _write(doors, service, held, wait_seconds, {"action": "pause", "reason": reason, "until": until})
    return Finished(f"{service} is left alone until {until or 'it is resumed'}: {reason}", 0.0, 0, 0)


def resume(doors: Doors, service: str, wait_seconds: float) -> Finished:
    """Looked after again."""
    if doors.store.wanted(service).paused is None:
        return Finished(f"{service} is not paused; nothing to do", 0.0, 0, 0)
    _write(doors, service, None, wait_seconds, {"action": "resume"})
    return Finished(f"{service} is looked after again", 0.0, 0, 0)


def _write(doors: Doors, service: str, held: Held | None, wait_seconds: float, line: dict[str, Any]) -> None:
    with settled(doors, [service], wait_seconds):  # while it is paused nobody else would
        wanted = doors.store.wanted(service)
        doors.store.write_wanted(msgspec.structs.replace(wanted, paused=held))
        common = {"at": doors.clock.now(), "who": who(), "command": doors.command, "service": service}
        doors.store.record({**common, **line, "outcome": "done"})
