"""Removes what tasks leave behind: the containers of tasks whose `conductor run` was killed, and the results and locks of
cron jobs that are no longer in the crontab.

The end of such a task is recorded in the history. A task that is still running after its deadline is stopped.
"""

import contextlib

from conductor.change.context import Context
from conductor.errors import ConductorError
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.replica import TaskContainer
from conductor.plan.tasks import job_locks

KEEP_SECONDS = 60.0  # a `conductor run` that was not killed has removed its container by then
STOP_SECONDS = 10.0  # for an overdue task, between its stop signal and SIGKILL


def is_due(container: TaskContainer, wall: float) -> bool:
    """True when a container may have to be removed. `wall` is the time now, in seconds since 1970."""
    if container.kind == "hook":
        return False
    return container.is_overdue(wall - KEEP_SECONDS) or container.state in {"created", "exited", "dead"}


def clean_up_tasks(context: Context, service: str) -> None:
    """Remove the task containers of one service that are due for removal. A failed removal is retried later."""
    with contextlib.suppress(ConductorError):
        for container in context.runtime.containers(service).tasks:
            if is_due(container, context.clock.wall()):
                _clean_up(context, container)


def clean_up_jobs(context: Context, service: str) -> None:
    """Remove the last results and the locks of cron jobs that the installed crontab no longer has.

    Those of a stopped service stay, because `start` installs its crontab again. A failed removal is retried after the
    next change.
    """
    with contextlib.suppress(ConductorError):
        text, wanted = context.crontabs.read(service), context.store.wanted(service)
        if text is None and wanted.release is not None and wanted.release.crontab:
            return
        for job in context.store.jobs(service):
            if job not in (text or ""):  # this also finds the key in a line that an operator has edited
                context.store.remove_job(service, job)
                for lock in job_locks(service, job):
                    context.locks.remove(lock)


def _clean_up(context: Context, container: TaskContainer) -> None:
    state = context.runtime.inspect(container.id)
    overdue = container.is_overdue(context.clock.wall())
    if state is None or state.running is not overdue:  # it ended or started meanwhile
        return
    if overdue:
        with contextlib.suppress(ConductorError):  # if the stop fails, the removal kills the task
            context.runtime.stop(container.id, STOP_SECONDS)
        outcome, at = Outcome.OVERDUE, context.clock.now()
    elif context.clock.age(state.since) >= KEEP_SECONDS:
        outcome, at = Outcome.NEVER_STARTED if container.state == "created" else Outcome.UNATTENDED, state.since
    else:
        return
    context.history.append(
        HistoryEntry(
            at=at, service=container.service, action=container.kind, outcome=outcome, to=container.revision,
            container=container.name, exit_code=state.exit_code,
        )
    )  # fmt: skip
    context.runtime.remove(container.id)
