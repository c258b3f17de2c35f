"""A task's context on a temporary host, with a clock that stands still and without a daemon."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.definitions.host import Host
from conductor.definitions.load import Definitions
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
        self.stopped: list[tuple[str, float]] = []
        self.start_delay_seconds = 0.0
        self.ran: float | None = None

    def ran_seconds(self, container: str) -> float | None:
        assert container in {one.id for one in self.containers}
        return self.ran

    def start_delay(self, container: str) -> float:
        assert container in {one.id for one in self.containers}
        return self.start_delay_seconds

    def unfinished(self, service: str, job: str) -> tuple[TaskContainer, ...]:
        if self.ends_after_calls is not None:
            self.ends_after_calls -= 1
            if self.ends_after_calls < 0:
                self.containers = []
        return tuple(one for one in self.containers if (one.service, one.job) == (service, job))

    def stop(self, container: str, grace_seconds: float) -> None:
        assert container in {one.id for one in self.containers}
        self.stopped.append((container, grace_seconds))

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


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Restore the handlers of signals that a task sets: commands that later tests start would inherit an ignored one."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGWINCH, signal.SIGPIPE)
    before = [(number, signal.getsignal(number)) for number in numbers]
    yield
    for number, handler in before:
        signal.signal(number, handler)
