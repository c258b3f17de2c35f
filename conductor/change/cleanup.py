"""Removes what tasks leave behind: the containers of tasks whose `conductor run` was killed, and the results and locks of
cron jobs that are no longer in the crontab.

The end of such a task is recorded in the history. A task that is still running after its deadline is stopped.
"""

import contextlib
from collections.abc import Iterator

from conductor.change.context import Context
from conductor.errors import ConductorError
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.replica import ContainerState, TaskContainer
from conductor.plan.tasks import KEEP_SECONDS, OVERDUE_STOP_SECONDS, job_locks

CREATED_SECONDS = 660.0  # a host that starts many containers is slow: `conductor run` waits for a start for 600 s


def is_due(container: TaskContainer, wall: float) -> bool:
    """True when a container may have to be removed. `wall` is the time now, in seconds since 1970."""
    if container.kind == "hook":
        return False
    return container.is_overdue(wall - KEEP_SECONDS) or container.state in {"created", "exited", "dead"}


def leftover_tasks(context: Context, service: str) -> Iterator[tuple[TaskContainer, ContainerState]]:
    """Yield the task containers of one service that have to be removed."""
    for container in context.runtime.containers(service).tasks:
        if is_due(container, context.clock.wall()) and (state := abandoned(context, container)) is not None:
            yield container, state


def clean_up_tasks(context: Context, service: str) -> tuple[str, ...]:
    """Remove the task containers of one service that have to be removed; return their names. A failure is retried later, and
    the other containers go on."""
    removed = []
    with contextlib.suppress(ConductorError):  # the runtime is not responding
        for container, state in leftover_tasks(context, service):
            with contextlib.suppress(ConductorError):
                _clean_up(context, container, state)
                removed.append(container.name)
    return tuple(removed)


def gone_jobs(context: Context, service: str) -> tuple[str, ...]:
    """Return the keys of cron jobs that have a last result and are no longer in the installed crontab.

    A stopped service has none, because `start` installs its crontab again.
    """
    text, wanted = context.crontabs.read(service), context.store.wanted(service)
    if text is None and wanted.release is not None and wanted.release.crontab:
        return ()
    # Searching the text also finds the key in a line that an operator has edited.
    return tuple(job for job in context.store.jobs(service) if job not in (text or ""))


def clean_up_jobs(context: Context, service: str) -> tuple[str, ...]:
    """Remove the results and the locks of `gone_jobs`; return their keys. A failure is retried after the next change."""
    removed = []
    with contextlib.suppress(ConductorError):
        for job in gone_jobs(context, service):
            context.store.remove_job(service, job)
            for lock in job_locks(service, job):
                context.locks.remove(lock)
            removed.append(job)
    return tuple(removed)


def abandoned(context: Context, container: TaskContainer) -> ContainerState | None:
    """Return the state of a due container that its `conductor run` has not removed in time, or None for any other.

    The time limit of a task begins when it has started. Its deadline is written before, and a start may be slow.
    """
    state = context.runtime.inspect(container.id)
    if state is None:
        return None
    overdue = container.is_overdue(context.clock.wall() - KEEP_SECONDS - state.start_delay)
    overdue = overdue and not container.has_time_left(_ran(context, container))
    if state.running is not overdue:  # it ended or started meanwhile, or has time left
        return None
    after = CREATED_SECONDS if container.state == "created" else KEEP_SECONDS
    return state if overdue or context.clock.age(state.since) >= after else None


def _ran(context: Context, container: TaskContainer) -> float | None:
    """Return how long a running container has run beyond `KEEP_SECONDS`, in seconds; None if that is unknown."""
    usage = context.runtime.usage(container.id)
    return None if usage is None or usage.started is None else context.clock.wall() - usage.started - KEEP_SECONDS


def _clean_up(context: Context, container: TaskContainer, state: ContainerState) -> None:
    if state.running:
        with contextlib.suppress(ConductorError):  # if the stop fails, the removal kills the task
            context.runtime.stop(container.id, OVERDUE_STOP_SECONDS)
        outcome, at = Outcome.OVERDUE, context.clock.now()
    else:
        outcome, at = Outcome.NEVER_STARTED if container.state == "created" else Outcome.UNATTENDED, state.since
    context.history.append(
        HistoryEntry(
            at=at, service=container.service, action=container.kind, outcome=outcome, to=container.revision,
            container=container.name, exit_code=state.exit_code,
        )
    )  # fmt: skip
    context.runtime.remove(container.id)
