"""What tasks leave behind. Those whose `conductor run` is gone: their end goes to the history, their containers are removed.

A container that prints a crontab is removed also when it does not end.
"""

import contextlib

from conductor.change.context import Context
from conductor.errors import ConductorError
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.replica import TaskContainer
from conductor.plan.tasks import GENERATE, GENERATE_SECONDS, job_locks

KEEP_SECONDS = 60.0  # a `conductor run` that still lives has removed its container by then


def is_due(container: TaskContainer, wall: float) -> bool:
    """True when a container may have to be removed. `wall` is the time now, in seconds since 1970."""
    if container.kind == "hook":
        return False
    overdue = container.job == GENERATE and wall - container.created > GENERATE_SECONDS + KEEP_SECONDS
    return overdue or not container.running


def clean_up_tasks(context: Context, service: str) -> None:
    """Remove the tasks of one service that are due. What fails now is tried again later."""
    with contextlib.suppress(ConductorError):
        for container in context.runtime.containers(service).tasks:
            if is_due(container, context.clock.wall()):
                _clean_up(context, container)


def clean_up_jobs(context: Context, service: str) -> None:
    """Remove the last results and the locks of cron jobs that the installed crontab no longer has.

    Those of a stopped service stay, because its crontab returns. What fails now is tried again after the next change.
    """
    with contextlib.suppress(ConductorError):
        text, wanted = context.crontabs.read(service), context.store.wanted(service)
        if text is None and wanted.release is not None and wanted.release.crontab:
            return
        for job in context.store.jobs(service):
            if job not in (text or ""):  # also the key of a line that a person has edited
                context.store.remove_job(service, job)
                for lock in job_locks(service, job):
                    context.locks.remove(lock)


def _clean_up(context: Context, container: TaskContainer) -> None:
    state = context.runtime.inspect(container.id)
    if state is None or state.running != container.running or context.clock.age(state.since) < KEEP_SECONDS:
        return
    outcome = Outcome.OVERDUE if state.running else Outcome.UNATTENDED
    if container.state == "created":
        outcome = Outcome.NEVER_STARTED
    context.history.append(
        HistoryEntry(
            at=state.since, service=container.service, action=container.kind, outcome=outcome, to=container.revision,
            container=container.name, exit_code=state.exit_code,
        )
    )  # fmt: skip
    context.runtime.remove(container.id)
