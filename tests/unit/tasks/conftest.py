"""A task's context on a temporary host, with a clock that stands still and without a daemon."""

from pathlib import Path

import pytest

from conductor.definitions.load import Definitions
from conductor.definitions.model import Host
from conductor.plan.replica import TaskContainer
from conductor.state.history import History
from conductor.state.locks import Locks
from conductor.state.store import Store
from conductor.tasks.context import TaskContext
from tests.fakes.runtime import FakeCancellation, FakeClock


class FakeTaskRuntime:
    """A daemon with containers of cron jobs. They end after some calls of `unfinished`, or never."""

    def __init__(self) -> None:
        self.containers: list[TaskContainer] = []
        self.ends_after_calls: int | None = None

    def unfinished(self, service: str, job: str) -> tuple[TaskContainer, ...]:
        if self.ends_after_calls is not None:
            self.ends_after_calls -= 1
            if self.ends_after_calls < 0:
                self.containers = []
        return tuple(one for one in self.containers if (one.service, one.job) == (service, job))

    def remove(self, container: str) -> None:
        self.containers = [one for one in self.containers if one.id != container]


@pytest.fixture
def context(tmp_path: Path) -> TaskContext:
    clock = FakeClock()
    cancellation = FakeCancellation(clock)
    return TaskContext(
        definitions=Definitions(tmp_path / "services.yml", Host(), (), {}, (), {}),
        runtime=FakeTaskRuntime(),
        store=Store(tmp_path / "state"),
        history=History(tmp_path / "state"),
        locks=Locks(tmp_path / "locks", "run", clock, cancellation),
        clock=clock,
        cancellation=cancellation,
        command="run --id web true",
    )
