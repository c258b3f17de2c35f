"""`cron install` and `cron remove`: the crontab alone, under the lock of its service."""

import msgspec

from conductor.caller import current_user
from conductor.change.cleanup import clean_up_jobs
from conductor.change.context import Context
from conductor.change.crontab import generate_for, wrapped
from conductor.change.recover import locked_and_recovered
from conductor.cron.table import parse
from conductor.definitions.checks import cron_command_warning
from conductor.definitions.load import Definitions, load
from conductor.errors import ConductorError
from conductor.output.events import Finished, ServiceResult, Warned
from conductor.plan.history import HistoryAction, HistoryEntry, Outcome
from conductor.state.locks import IMAGES, IMAGES_SECONDS


def install(
    context: Context, definitions: Definitions, service: str, revision: str | None, wait_seconds: float
) -> Finished:
    """Generate and install a crontab. Store that of the live release, so that `start` can install it again after `stop`."""
    began = context.clock.monotonic()
    definitions.require_known(service, context.store.services())
    # The image may be that of no stored release until the crontab that names it is installed.
    with (
        locked_and_recovered(context, [service], wait_seconds) as is_late,
        context.locks.share(IMAGES, IMAGES_SECONDS),
    ):
        if context.store.wanted(service).stopped:
            raise ConductorError(
                f"cannot install the crontab for {service}: the service is stopped",
                f"conductor service start --id {service}",
            )
        context.crontabs.check(service)
        definitions = load(context.config) if is_late or wait_seconds else definitions
        release = generate_for(context, definitions, service, revision)
        table, text, wanted = parse(release.crontab), wrapped(context, release), context.store.wanted(service)
        warnings = [f"crontab for {service}, {warning}" for warning in table.warnings]
        if text and (missing := cron_command_warning(context.host)):
            warnings.append(f"crontab for {service}: {missing}")
        for warning in warnings:
            context.output.emit(Warned(text=warning))
        with context.cancellation.shielded("installing the crontab; this cannot be interrupted"):
            live = release if wanted.release and wanted.release.revision == release.revision else wanted.release
            # Also without a release: `supervise` removes the crontabs of services with a wanted state.
            context.store.write_wanted(msgspec.structs.replace(wanted, release=live, crontab_removed=False))
            changed = context.crontabs.put(service, text)
            _record(context, service, "cron-install", release.revision, changed=changed)
            clean_up_jobs(context, service)
    path = context.crontabs.path(service)
    jobs = f"{len(table.jobs)} job{'s' * (len(table.jobs) != 1)}"
    state = (
        f"{path} has {jobs} for {release.revision}"
        if text
        else f"{release.revision} has no jobs, so {path} is not installed"
    )
    return Finished(
        text=state if changed else f"{state}; nothing to do",
        seconds=context.clock.monotonic() - began,
        warnings=len(warnings),
        services=(ServiceResult(service=service, action="cron-install", changed=changed, to=release.revision),),
    )


def remove(context: Context, service: str, wait_seconds: float) -> Finished:
    """Remove an installed crontab, even of a service that is no longer defined."""
    began = context.clock.monotonic()
    with locked_and_recovered(context, [service], wait_seconds):
        if context.host.fleet is not None:  # the other managers follow
            wanted = context.store.wanted(service)
            context.store.write_wanted(msgspec.structs.replace(wanted, crontab_removed=True))
        changed = context.crontabs.put(service, None)
        _record(context, service, "cron-remove", None, changed=changed)
        clean_up_jobs(context, service)
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
