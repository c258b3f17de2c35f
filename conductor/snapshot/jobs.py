"""The installed cron jobs of this host, each with its last result and its next run."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from conductor.change.context import Context
from conductor.clock import utc_of_local
from conductor.cron import schedule
from conductor.cron.installed import InstalledJob, installed_jobs
from conductor.definitions.load import Definitions
from conductor.errors import ConductorError
from conductor.plan.tasks import JobResult
from conductor.snapshot.model import JobRow, JobState

VERSION = 1  # of the JSON document
STARTING_SECONDS = 60.0  # a job that began less than this ago may not have its container yet


def document(rows: Sequence[JobRow]) -> dict[str, Any]:
    """Return the rows as the JSON document of `cron list`."""
    return {"version": VERSION, "jobs": msgspec.to_builtins(rows)}


def job_rows(definitions: Definitions, context: Context, only: str | None = None) -> list[JobRow]:
    """Return the jobs of all services, or of `only`."""
    if only is not None:
        definitions.require_known(only, context.store.services())
    known = dict.fromkeys((*definitions.ids, *context.store.services()))
    return [row for service in known if only in {None, service} for row in _rows(context, service)]


def _rows(context: Context, service: str) -> Iterator[JobRow]:
    jobs = installed_jobs(context.crontabs.read(service) or "")
    running = {one.job for one in context.runtime.containers(service).tasks if one.running} if jobs else set()
    missing = {revision for revision in {job.revision for job in jobs} if _image_is_missing(context, service, revision)}
    for job in jobs:
        image_missing = job.revision in missing
        try:
            result = context.store.job(service, job.key) or JobResult(service=service, job=job.key)
        except ConductorError as error:  # the rows of other jobs are still shown
            damaged = JobResult(service=service, job=job.key, output=error.sentence)
            state = JobState.RUNNING if job.key in running else JobState.DAMAGED
            yield _row(context, job, damaged, state, image_missing=image_missing)
        else:
            state = _state(context, result, running=job.key in running)
            yield _row(context, job, result, state, image_missing=image_missing)


def _image_is_missing(context: Context, service: str, revision: str) -> bool:
    """Return whether the image of a stored release is gone, for example after `docker system prune -a`."""
    try:
        release = context.store.wanted(service).find(revision)
    except ConductorError:  # `service status` reports a damaged state
        return False
    return release is not None and context.runtime.image(release.image_id) is None


def _state(context: Context, result: JobResult, *, running: bool) -> JobState:
    if running:
        return JobState.RUNNING
    if not result.began:
        return JobState.NEVER
    if result.exit_code is not None:
        return JobState.DONE
    return JobState.RUNNING if context.clock.age(result.began) < STARTING_SECONDS else JobState.LOST


def _row(context: Context, job: InstalledJob, result: JobResult, state: JobState, *, image_missing: bool) -> JobRow:
    next_run, output = None, result.output
    try:
        next_run = _next_run(context, job.schedule)
    except ValueError as error:  # of an edited file, which must not hide the jobs of other services
        state, output = (
            JobState.DAMAGED,
            f"cannot read the schedule {job.schedule}: {error}; cron may ignore the whole file",
        )
    return JobRow(
        service=job.service,
        revision=job.revision,
        job=job.key,
        schedule=job.schedule,
        command=job.command,
        next_run=next_run,
        state=state,
        last_revision=result.revision,
        began=result.began,
        seconds=result.seconds,
        exit_code=result.exit_code,
        skipped=result.skipped,
        output=output,
        failures=result.failures,
        image_missing=image_missing,
    )


def _next_run(context: Context, written: str) -> str | None:
    moment = schedule.next_run(schedule.parse(written), context.clock.local())
    return utc_of_local(moment.isoformat()) if moment else None
