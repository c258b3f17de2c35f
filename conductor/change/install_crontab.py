"""`cron install` and `cron remove`: the crontab alone, under the lock of its service."""

from typing import Any

import msgspec

from conductor.caller import who
from conductor.change.context import Context
from conductor.change.crontab import printed, wrapped
from conductor.change.recover import settled
from conductor.cron.table import parse
from conductor.definitions.load import Definitions
from conductor.errors import ConductorError
from conductor.output.events import Finished, Warned


def install(
    context: Context, definitions: Definitions, service: str, revision: str | None, wait_seconds: float
) -> Finished:
    """Have it printed and put it in place. For the live release it is remembered: `stop` and `start` know it then."""
    began = context.clock.monotonic()
    if service not in context.store.services():
        definitions.service(service)  # says that there is no such service, and which is nearest
    with settled(context, [service], wait_seconds):
        if context.store.wanted(service).stopped:
            raise ConductorError(
                f"cannot install the crontab of {service}: it is stopped",
                f"conductor service start --id {service} installs it",
            )
        context.crontabs.check()
        of = printed(context, definitions, service, revision)
        table, text, wanted = parse(of.crontab), wrapped(context, of), context.store.wanted(service)
        for warning in table.warnings:
            context.report.emit(Warned(f"crontab of {service}, {warning}"))
        with context.clock.shielded("installing the crontab, one moment"):
            if wanted.release and wanted.release.revision == of.revision:
                context.store.write_wanted(msgspec.structs.replace(wanted, release=of))
            changed = context.crontabs.put(service, text)
            _record(context, service, "cron install", of.revision, changed=changed)
    place = context.crontabs.path(service)
    jobs = f"{len(table.jobs)} job{'s' * (len(table.jobs) != 1)}"
    what = f"{jobs} of {of.revision} in {place}" if text else f"no jobs, so there is no {place}"
    if not changed:
        what += "; nothing to do"
    return Finished(what, context.clock.monotonic() - began, len(table.warnings), 0)


def remove(context: Context, service: str, wait_seconds: float) -> Finished:
    """Also of a service that is not defined any more."""
    began = context.clock.monotonic()
    with settled(context, [service], wait_seconds):
        changed = context.crontabs.put(service, None)
        _record(context, service, "cron remove", None, changed=changed)
    text = f"{context.crontabs.path(service)} is {'removed' if changed else 'not there; nothing to do'}"
    return Finished(text, context.clock.monotonic() - began, 0, 0)


def _record(context: Context, service: str, action: str, revision: str | None, *, changed: bool) -> None:
    if not changed:
        return
    line: dict[str, Any] = {
        "at": context.clock.now(), "who": who(), "command": context.command, "action": action, "service": service,
        "to": revision, "outcome": "done",
    }  # fmt: skip
    context.store.record(line)
