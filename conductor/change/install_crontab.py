"""`cron install` and `cron remove`: the crontab alone, under the lock of its service."""

import msgspec

from conductor.caller import current_user
from conductor.change.context import Context
from conductor.change.crontab import generate_for, wrapped
from conductor.change.recover import locked_and_recovered
from conductor.cron.table import parse
from conductor.definitions.load import Definitions
from conductor.errors import ConductorError
from conductor.output.events import Finished, ServiceResult, Warned
from conductor.plan.history import HistoryAction, HistoryEntry, Outcome


def install(
    context: Context, definitions: Definitions, service: str, revision: str | None, wait_seconds: float
) -> Finished:
    """Generate and install a crontab. Store that of the live release, so that `start` can install it again after `stop`."""
    began = context.clock.monotonic()
    definitions.require_known(service, context.store.services())
    with locked_and_recovered(context, [service], wait_seconds):
        if context.store.wanted(service).stopped:
            raise ConductorError(
                f"cannot install the crontab of {service}: the service is stopped",
                f"conductor service start --id {service}",
            )
        context.crontabs.check()
        release = generate_for(context, definitions, service, revision)
        table, text, wanted = parse(release.crontab), wrapped(context, release), context.store.wanted(service)
        for warning in table.warnings:
            context.output.emit(Warned(text=f"crontab of {service}, {warning}"))
        with context.cancellation.shielded("installing the crontab; this is not interrupted"):
            if wanted.release and wanted.release.revision == release.revision:
                context.store.write_wanted(msgspec.structs.replace(wanted, release=release))
            changed = context.crontabs.put(service, text)
            _record(context, service, "cron-install", release.revision, changed=changed)
    path = context.crontabs.path(service)
    jobs = f"{len(table.jobs)} job{'s' * (len(table.jobs) != 1)}"
    state = (
        f"{path} has {jobs} of {release.revision}"
        if text
        else f"{release.revision} has no jobs, so {path} is not installed"
    )
    return Finished(
        text=state if changed else f"{state}; nothing to do",
        seconds=context.clock.monotonic() - began,
        warnings=len(table.warnings),
        services=(ServiceResult(service=service, action="cron-install", changed=changed, to=release.revision),),
    )


def remove(context: Context, service: str, wait_seconds: float) -> Finished:
    """Remove an installed crontab, even of a service that is no longer defined."""
    began = context.clock.monotonic()
    with locked_and_recovered(context, [service], wait_seconds):
        changed = context.crontabs.put(service, None)
        _record(context, service, "cron-remove", None, changed=changed)
    path = context.crontabs.path(service)
    return Finished(
        text=f"removed {path}" if changed else f"{path} does not exist; nothing to do",
        seconds=context.clock.monotonic() - began,
        services=(ServiceResult(service=service, action="cron-remove", changed=changed),),
    )


def _record(context: Context, service: str, action: HistoryAction, revision: str | None, *, changed: bool) -> None:
    if changed:
        context.history.append(
            HistoryEntry(
                at=context.clock.now(), service=service, action=action, outcome=Outcome.DONE, who=current_user(),
                command=context.command, to=revision,
            )
        )  # fmt: skip
