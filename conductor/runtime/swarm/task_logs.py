"""The logs of a replica's tasks, whatever their nodes, from Swarm."""

import functools
from collections.abc import Callable, Iterator

from conductor.clock import Clock
from conductor.plan.log import LogLine
from conductor.runtime.docker.attach import TaskRuntime
from conductor.runtime.docker.container_log import read_log
from conductor.runtime.swarm import responses
from conductor.runtime.swarm.responses import Service

KEPT_LINES = 2000  # of a task that Swarm forgets


class TaskLogs:
    """`service` returns a service with its tasks as they are now."""

    def __init__(self, tasks: TaskRuntime, clock: Clock, service: Callable[[str], Service | None]) -> None:
        self._tasks = tasks
        self._clock = clock
        self._service = service
        self._kept: dict[str, tuple[str, tuple[LogLine, ...]]] = {}  # by replica: a task and its log

    def read(self, replica: str, seconds: int, tail: int | None, *, follow: bool) -> Iterator[LogLine]:
        """Yield the lines since `seconds` (since 1970), at most the last `tail` of each task. Only the last task can be
        followed."""
        service = self._service(replica)
        tasks = [one["ID"] for one in service.tasks if responses.container(one)] if service else []
        for task in tasks[-1:] if follow else tasks:
            yield from self._read(task, seconds, tail, functools.partial(self._runs, replica, task) if follow else None)
        kept, lines = self._kept.get(replica, ("", ()))
        if kept not in tasks:
            yield from lines

    def keep(self, replica: str, task: str) -> None:
        """Keep the log of a task that has been stopped: Swarm still has it for a moment."""
        self._kept[replica] = task, tuple(self._read(task, 0, KEPT_LINES, None))

    def forget(self, replica: str) -> None:
        """Drop the log that was kept for a replica."""
        self._kept.pop(replica, None)

    def _read(self, task: str, seconds: int, tail: int | None, runs: Callable[[], bool] | None) -> Iterator[LogLine]:
        return read_log(
            self._tasks, self._clock, task, seconds, tail, follow=runs is not None, kind="tasks", runs=runs
        )  # fmt: skip

    def _runs(self, replica: str, task: str) -> bool:
        service = self._service(replica)
        return any(one["ID"] == task and not responses.has_ended(one) for one in service.tasks) if service else False
