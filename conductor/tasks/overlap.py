"""A cron job's turn: one run at a time where the definition says so, across revisions."""

import contextlib
import math
from collections.abc import Iterator

from conductor.definitions.model import Cron
from conductor.errors import BusyError
from conductor.plan.tasks import Task
from conductor.tasks.context import TaskContext

LOOK_SECONDS = 1.0  # how often a container whose `conductor run` died is looked at again


@contextlib.contextmanager
def turn(context: TaskContext, task: Task, cron: Cron | None) -> Iterator[bool]:
    """Whether it may run now. With `skip` not beside another run; with `queue` after it, and one waits at most.

    A container of the job counts, whatever became of its `conductor run`.
    """
    overlap = cron.overlap if cron else "allow"
    if overlap == "allow":
        yield True
        return
    name = f"{task.service}.{task.job}"  # no service's id has a dot, so it is no service's lock
    with contextlib.ExitStack() as held:
        with contextlib.ExitStack() as queued:
            try:
                if overlap == "queue":
                    queued.enter_context(context.locks.hold(f"{name}.next"))
                held.enter_context(context.locks.hold(name, math.inf if overlap == "queue" else 0.0))
            except BusyError:
                yield False
                return
            while context.daemon.running(task.service, task.job):
                if overlap == "skip":
                    yield False
                    return
                context.clock.wait(LOOK_SECONDS)
        yield True
