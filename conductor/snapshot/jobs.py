"""What `cron list` shows: the installed jobs beside what is remembered of their last runs."""

from collections.abc import Iterator

import msgspec

from conductor.change.context import Context
from conductor.cron import schedule
from conductor.cron.wrap import InstalledJob, installed_jobs
from conductor.definitions.load import Definitions
from conductor.errors import ConductorError
from conductor.plan.jobs import JobResult


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """One line of an installed crontab. `next_run` is the host's wall time (None for `@reboot`), `began` UTC. `state`
    is `never`, `running`, `done`, or `lost` when a run has begun of which nobody saw the end."""

    service: str
    revision: str
    job: str
    schedule: str
    command: str
    next_run: str | None
    state: str
    last_revision: str
    began: str
    seconds: float | None
    exit_code: int | None
    skipped: int
    output: str


def look(definitions: Definitions, context: Context, only: str | None = None) -> list[JobRow]:
    """The jobs of every service, or of one."""
    if only is not None and only not in context.store.services():
        definitions.service(only)  # says that there is no such service, and which is nearest
    known = (*definitions.ids, *context.store.services())
    services = [one for one in dict.fromkeys(known) if only in (None, one)]
    return [row for service in services for row in _rows(context, service)]


def _rows(context: Context, service: str) -> Iterator[JobRow]:
    jobs = installed_jobs(context.crontabs.read(service) or "")
    running = {c.job for c in context.runtime.containers(service) if c.running} if jobs else set()
    for job in jobs:
        try:
            result = context.store.job(service, job.key) or JobResult(service=service, job=job.key)
        except ConductorError as damaged:  # the other jobs are told all the same
            result = JobResult(service=service, job=job.key, output=damaged.sentence)
        yield _row(context, job, result, running=job.key in running)


def _row(context: Context, job: InstalledJob, result: JobResult, *, running: bool) -> JobRow:
    ended = "done" if result.exit_code is not None else "lost"
    return JobRow(
        service=job.service,
        revision=job.revision,
        job=job.key,
        schedule=job.schedule,
        command=job.command,
        next_run=_next(context, job.schedule),
        state="running" if running else ended if result.began else "never",
        last_revision=result.revision,
        began=result.began,
        seconds=result.seconds,
        exit_code=result.exit_code,
        skipped=result.skipped,
        output=result.output,
    )


def _next(context: Context, written: str) -> str | None:
    try:
        moment = schedule.next_run(schedule.parse(written), context.clock.local())
    except ValueError as error:
        raise ConductorError(f"cannot read the schedule {written}: {error}") from error
    return moment.isoformat(sep=" ", timespec="minutes") if moment else None
