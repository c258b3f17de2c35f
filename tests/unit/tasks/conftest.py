"""A task's context on a temporary host, with a clock that stands still and without a daemon."""

from pathlib import Path

import pytest

from conductor.definitions.load import Definitions
from conductor.definitions.model import Host
from conductor.state.history import History
from conductor.state.locks import Locks
from conductor.state.store import Store
from conductor.tasks.context import TaskContext
from tests.fakes.runtime import FakeCancellation, FakeClock


class FakeTaskRuntime:
    """A daemon with running containers of cron jobs: each call of `running` returns the next answer."""

    def __init__(self) -> None:
        self.answers: list[tuple[str, ...]] = []

    def running(self, service: str, job: str) -> tuple[str, ...]:
        return self.answers.pop(0) if self.answers else ()


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
