"""The notes on a service that need neither its containers nor the traffic layer: from its definition and its state."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from conductor.change.context import Context
from conductor.change.release_files import ReleaseFiles
from conductor.cron.installed import InstalledJob, installed_jobs
from conductor.definitions.checks import cron_command_warning
from conductor.definitions.load import Definitions, restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.plan.reason import Busy
from conductor.plan.release import Hold, Wanted
from conductor.plan.replica import Replica
from conductor.plan.tasks import KEEPS_FAILING
from conductor.snapshot import notes
from conductor.snapshot.notes import AnyNote
from conductor.state.supervisor_status import ServiceStatus, SupervisorStatus, read_status


def read_notes(
    definitions: Definitions, context: Context, service: str, status: ServiceStatus | None
) -> tuple[AnyNote, ...]:
    """Return the notes on a service. A damaged state is one of them."""
    try:
        wanted = context.store.wanted(service)
        released = (
            restore(service, wanted.release.definition, definitions.services.get(service)) if wanted.release else None
        )
    except ConductorError as error:
        return (notes.DamagedState.of(error),)
    return tuple(state_notes(definitions, context, wanted, released=released, status=status))


def state_notes(
    definitions: Definitions,
    context: Context,
    wanted: Wanted,
    *,
    released: Definition | None,
    status: ServiceStatus | None,
    replicas: Sequence[Replica] = (),
) -> Iterator[AnyNote]:
    """Yield the notes on a service with this wanted state. `released` is the definition of its live release.

    Changed files count as drift only if `replicas` contains a live one.
    """
    defined = definitions.services.get(wanted.service)
    yield from _definition_notes(definitions, wanted.service, released)
    yield from _operator_notes(context, wanted, defined)
    changes = tuple(_change_notes(context, wanted.service))
    yield from changes
    if not changes and defined is not None:  # a change installs and removes the crontab itself
        yield from _crontab_notes(context, wanted)
    yield from _job_notes(context, wanted.service)
    yield from _supervise_notes(wanted, status)
    if drift := ReleaseFiles(context.store).drift(wanted, defined, released, replicas):
        yield notes.Drifted(service=wanted.service, revision=wanted.live.revision, changed=drift)


def current_pause(context: Context, wanted: Wanted) -> Hold | None:
    """Return the pause of a service, if it is not over."""
    return wanted.paused if wanted.paused and not wanted.paused.is_over(context.clock.now()) else None


def supervisor_status(context: Context) -> SupervisorStatus | None:
    """Return what a running `supervise` published; None when that cannot be read, which `supervise status` reports."""
    with contextlib.suppress(ConductorError):
        return read_status(context.host.runtime_dir, context.locks)
    return None


def supervisor_statuses(context: Context) -> Mapping[str, ServiceStatus]:
    """Return what a running `supervise` published, by service."""
    status = supervisor_status(context)
    return status.services if status is not None else {}


def _definition_notes(definitions: Definitions, service: str, released: Definition | None) -> Iterator[AnyNote]:
    for problem in definitions.broken.get(service, ())[:1]:
        yield notes.InvalidDefinition(problem=str(problem))
    if released and released.unknown:
        yield notes.UnknownKeys(keys=released.unknown)


def _operator_notes(context: Context, wanted: Wanted, defined: Definition | None) -> Iterator[AnyNote]:
    if wanted.stopped:
        yield notes.Stopped(service=wanted.service, hold=wanted.stopped)
    if paused := current_pause(context, wanted):
        yield notes.Paused(service=wanted.service, hold=paused)
    if wanted.maintenance:
        yield notes.InMaintenance(service=wanted.service, hold=wanted.maintenance.hold)
    if wanted.scale is not None:
        yield notes.Scaled(
            service=wanted.service, count=wanted.scale, defined=defined.service.count if defined else None
        )


def _change_notes(context: Context, service: str) -> Iterator[AnyNote]:
    try:
        holder, journal = context.locks.holder(service), context.store.journal(service)
    except ConductorError as error:
        yield notes.DamagedState.of(error)
        return
    if holder is not None:
        yield notes.Busy.of(holder)
        return
    if journal is not None:
        yield notes.Interrupted.of(journal)


def _crontab_notes(context: Context, wanted: Wanted) -> Iterator[AnyNote]:
    """Nothing installs a missing crontab again until the next deploy: an operator may have removed it."""
    if wanted.release is None or not wanted.release.crontab or wanted.stopped or wanted.crontab_removed:
        return
    from conductor.cron.table import parse

    try:
        installed = context.crontabs.read(wanted.service) is not None
        jobs = len(parse(wanted.release.crontab, stored=True).jobs)
    except ConductorError as error:
        yield notes.DamagedState.of(error)
        return
    if jobs and not installed:
        yield notes.MissingCrontab(service=wanted.service, path=str(context.crontabs.path(wanted.service)), jobs=jobs)


def _job_notes(context: Context, service: str) -> Iterator[AnyNote]:
    jobs: tuple[InstalledJob, ...] = ()
    with contextlib.suppress(ConductorError):  # reported for a missing crontab
        jobs = installed_jobs(context.crontabs.read(service) or "")
    if jobs and (problem := cron_command_warning(context.host)):
        yield notes.CronCommandMissing(problem=problem)
    once = {job.key: job for job in jobs}.values()  # lines with the same command are one job
    if failing := tuple(job.command for job in once if _keeps_failing(context, job)):
        yield notes.FailingJobs(service=service, commands=failing)


def _keeps_failing(context: Context, job: InstalledJob) -> bool:
    """Return False for a damaged result, which `cron list` shows."""
    with contextlib.suppress(ConductorError):
        result = context.store.job(job.service, job.key)
        return result is not None and result.failures >= KEEPS_FAILING
    return False


def _supervise_notes(wanted: Wanted, status: ServiceStatus | None) -> Iterator[AnyNote]:
    if status is None or isinstance(status.reason, Busy):  # that may be over: `_change_notes` reads the lock
        return
    if status.needs_attention and wanted.paused is None:
        yield notes.Supervise(status=status)
