"""`cron install` and `cron remove`: the crontab alone, under the lock of its service."""

from typing import Any

import msgspec

from conductor.caller import who
from conductor.change.crontab import printed, wrapped
from conductor.change.doors import Doors
from conductor.change.settle import settled
from conductor.cron.table import parse
from conductor.definitions.load import Definitions
from conductor.errors import ConductorError
from conductor.report.events import Finished, Warned


def install(
    doors: Doors, definitions: Definitions, service: str, revision: str | None, wait_seconds: float
) -> Finished:
    """Have it printed and put it in place. For the live release it is remembered: `stop` and `start` know it then."""
    began = doors.clock.monotonic()
    if service not in doors.store.services():
        definitions.service(service)  # says that there is no such service, and which is nearest
    with settled(doors, [service], wait_seconds):
        if doors.store.wanted(service).stopped:
            raise ConductorError(
                f"cannot install the crontab of {service}: it is stopped",
                f"conductor service start --id {service} installs it",
            )
        doors.crontabs.check()
        of = printed(doors, definitions, service, revision)
        table, text, wanted = parse(of.crontab), wrapped(doors, of), doors.store.wanted(service)
        for warning in table.warnings:
            doors.report.emit(Warned(f"crontab of {service}, {warning}"))
        with doors.clock.shielded("installing the crontab, one moment"):
            if wanted.release and wanted.release.revision == of.revision:
                doors.store.write_wanted(msgspec.structs.replace(wanted, release=of))
            changed = doors.crontabs.put(service, text)
            _record(doors, service, "cron install", of.revision, changed=changed)
    place = doors.crontabs.path(service)
    jobs = f"{len(table.jobs)} job{'s' * (len(table.jobs) != 1)}"
    what = f"{jobs} of {of.revision} in {place}" if text else f"no jobs, so there is no {place}"
    if not changed:
        what += "; nothing to do"
    return Finished(what, doors.clock.monotonic() - began, len(table.warnings), 0)


def remove(doors: Doors, service: str, wait_seconds: float) -> Finished:
    """Also of a service that is not defined any more."""
    began = doors.clock.monotonic()
    with settled(doors, [service], wait_seconds):
        changed = doors.crontabs.put(service, None)
        _record(doors, service, "cron remove", None, changed=changed)
    text = f"{doors.crontabs.path(service)} is {'removed' if changed else 'not there; nothing to do'}"
    return Finished(text, doors.clock.monotonic() - began, 0, 0)


def _record(doors: Doors, service: str, action: str, revision: str | None, *, changed: bool) -> None:
    if not changed:
        return
    line: dict[str, Any] = {
        "at": doors.clock.now(), "who": who(), "command": doors.command, "action": action, "service": service,
        "to": revision, "outcome": "done",
    }  # fmt: skip
    doors.store.record(line)
