"""The installed cron jobs of this host, each with its last result and its next run."""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

import msgspec

from conductor.change.context import Context
from conductor.cron import schedule
from conductor.cron.wrap import InstalledJob, installed_jobs
from conductor.definitions.load import Definitions
from conductor.errors import ConductorError
from conductor.plan.tasks import JobResult

VERSION = 1  # of the JSON document


class JobState(StrEnum):
    """The state of a job. `LOST`: its last run started, but its end was not recorded."""

    NEVER = "never"
    RUNNING = "running"
    DONE = "done"
    LOST = "lost"
    DAMAGED = "damaged"  # its last result cannot be read


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """One installed job. `next_run` is local time, as cron reads it (None for `@reboot`); `began` is UTC, empty if it has
    never run. `output` is the end of the last run's output, or the error when its result is damaged. With `image_missing`,
    the image of the job's release is not on this host, so the next run must pull it."""

    service: str
    revision: str
    job: str
    schedule: str
    command: str
    next_run: str | None
    state: JobState
    last_revision: str = ""
    began: str = ""
    seconds: float | None = None
    exit_code: int | None = None
    skipped: int = 0
    output: str = ""
    image_missing: bool = False


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
            yield _row(context, job, result, _state(result, running=job.key in running), image_missing=image_missing)


def _image_is_missing(context: Context, service: str, revision: str) -> bool:
    """Return whether the image of a stored release is gone, for example after `docker system prune -a`."""
    try:
        release = context.store.wanted(service).find(revision)
    except ConductorError:  # `service status` reports a damaged state
        return False
    return release is not None and context.runtime.image(release.image_id) is None


def _state(result: JobResult, *, running: bool) -> JobState:
    if running:
        return JobState.RUNNING
    if not result.began:
        return JobState.NEVER
    return JobState.LOST if result.exit_code is None else JobState.DONE


def _row(context: Context, job: InstalledJob, result: JobResult, state: JobState, *, image_missing: bool) -> JobRow:
    return JobRow(
        service=job.service,
        revision=job.revision,
        job=job.key,
        schedule=job.schedule,
        command=job.command,
        next_run=_next_run(context, job.schedule),
        state=state,
        last_revision=result.revision,
        began=result.began,
        seconds=result.seconds,
        exit_code=result.exit_code,
        skipped=result.skipped,
        output=result.output,
        image_missing=image_missing,
    )


def _next_run(context: Context, written: str) -> str | None:
    try:
        moment = schedule.next_run(schedule.parse(written), context.clock.local())
    except ValueError as error:
        raise ConductorError(f"cannot read the schedule {written}: {error}") from error
    return moment.isoformat(sep=" ", timespec="minutes") if moment else None
