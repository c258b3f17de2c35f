"""A cron job's overlap: `allow`, `skip` or `queue` a run while another one, of any revision, is in progress."""

import contextlib
import math
from collections.abc import Iterator

from conductor.definitions.model import Cron
from conductor.errors import BusyError, ConductorError
from conductor.plan.replica import TaskContainer
from conductor.plan.tasks import KEEP_SECONDS, OVERDUE_STOP_SECONDS, Task, job_locks
from conductor.tasks.context import TaskContext
from conductor.tasks.results import record_overdue

POLL_SECONDS = 1.0  # between two checks for a container whose `conductor run` was killed
CREATED_SECONDS = 60.0  # after this time, a created container will not be started: its `conductor run` was killed


@contextlib.contextmanager
def exclusive(context: TaskContext, task: Task, cron: Cron | None) -> Iterator[bool]:
    """Yield whether the job may run now. With `queue`, wait for the other run, unless another run is waiting already.

    A running container of the job counts as a run until its deadline, even if its `conductor run` was killed. After the
    deadline, it is stopped first.
    """
    overlap = cron.overlap if cron else "allow"
    run, next_run, _ = job_locks(task.service, task.job)
    if overlap == "allow":
        if cron and task.timeout is not None:
            with contextlib.suppress(BusyError), context.locks.hold(run):
                _runs(context, task, late_seconds=KEEP_SECONDS)  # other runs hold no lock
        yield True
        return
    with contextlib.ExitStack() as held:
        with contextlib.ExitStack() as queued:
            try:
                if overlap == "queue":
                    queued.enter_context(context.locks.hold(next_run))
                held.enter_context(context.locks.hold(run, math.inf if overlap == "queue" else 0.0))
            except BusyError:
                yield False
                return
            while _runs(context, task):
                if overlap == "skip":
                    yield False
                    return
                context.cancellation.wait(POLL_SECONDS)
        yield True


def _runs(context: TaskContext, task: Task, late_seconds: float = 0.0) -> bool:
    """Return whether a container of the job runs or is about to. Stop and remove those that are past their deadline."""
    runs, wall = False, context.clock.wall()
    for container in context.runtime.unfinished(task.service, task.job):
        if _is_overdue(context, container, wall, late_seconds):
            with contextlib.suppress(ConductorError):  # if the stop fails, the removal kills the job
                context.runtime.stop(container.id, OVERDUE_STOP_SECONDS)
            context.runtime.remove(container.id)
            record_overdue(context, container)
        elif container.state != "created" or wall - container.created < CREATED_SECONDS:
            runs = True
    return runs


def _is_overdue(context: TaskContext, container: TaskContainer, wall: float, late_seconds: float) -> bool:
    """The time limit of a job begins when it has started. Its deadline is written before, and a start may be slow."""
    wall -= late_seconds
    if not container.is_overdue(wall) or not container.is_overdue(wall - context.runtime.start_delay(container.id)):
        return False
    ran = context.runtime.ran_seconds(container.id)
    return not container.has_time_left(None if ran is None else ran - late_seconds)
