"""The time limit of a task, with a daemon whose calls are slow."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from conductor.clock import Clock
from conductor.definitions.load import restore
from conductor.errors import ConductorError
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.history import Outcome
from conductor.plan.tasks import Task, task_spec
from conductor.plan.transition import new_release
from conductor.tasks import attach
from conductor.tasks.attach import AttachedTask, TaskEnd
from tests.fakes.runtime import FakeCancellation, FakeClock
from tests.fakes.world import WEB

GRACE = 0.05
SLOW_START, SLOW_SIGNAL = 0.6, 0.1  # seconds


class Exit:
    """The exit of a container, once `event` is set."""

    def __init__(self) -> None:
        self.event = threading.Event()

    def code(self) -> int:
        self.event.wait(20)
        return 0


class Daemon:
    """A daemon with one task, which ends `runs` seconds after its start and ignores SIGTERM, and SIGKILL unless it is
    `killable`. `calls` are the ends of the calls."""

    def __init__(self, runs: float, *, killable: bool) -> None:
        self._runs, self._killable = runs, killable
        self.exit, self.calls = Exit(), dict[str, float]()
        self.ours, self.output = socket.socketpair()
        self._ending = threading.Timer(runs, self.end)

    @contextlib.contextmanager
    def starting(self, spec: ContainerSpec) -> Iterator[str]:
        yield "c1"

    def attach(self, container: str, _command: str) -> socket.socket:
        return self.ours

    def wait(self, container: str) -> Exit:
        return self.exit

    def start(self, container: str, command: str) -> None:
        self._slow("start", SLOW_START)
        if self._runs:
            self._ending.start()
        else:
            self.end()

    def kill(self, container: str, number: str) -> None:
        self._slow(number, SLOW_SIGNAL)
        if number == "SIGKILL" and self._killable:
            self.end()

    def _slow(self, call: str, seconds: float) -> None:
        time.sleep(seconds)
        self.calls[call] = time.monotonic()

    def remove(self, container: str) -> None:
        pass

    def end(self) -> None:
        """End the task and its output."""
        self._ending.cancel()
        self.exit.event.set()
        self.output.close()


@pytest.fixture(autouse=True)
def _handlers_restored() -> Iterator[None]:
    """Restore the handlers that a task replaces."""
    before = {n: signal.getsignal(n) for n in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}}
    yield
    signal.set_wakeup_fd(-1)
    for number, handler in before.items():
        if handler is not None:
            signal.signal(number, handler)


def run(runs: float, timeout: float, *, killable: bool = False) -> tuple[TaskEnd | ConductorError, dict[str, float]]:
    """Run a task; return its end and when each call ended, in order."""
    daemon: Any = Daemon(runs, killable=killable)
    release = new_release(restore("web", WEB), "r1", "i", "c1")
    task = Task(service="web", kind="cron", command=("true",))
    spec = task_spec(task, restore("web", WEB), release, {}, instance="default", network="n", change="t1")
    spec = msgspec.structs.replace(spec, stop=msgspec.structs.replace(spec.stop, grace=GRACE))
    try:
        end = AttachedTask(daemon, Clock(), FakeCancellation(FakeClock()), spec, "true").run(
            timeout, bytearray().extend
        )
    except ConductorError as error:
        return error, daemon.calls
    finally:
        daemon.end()
        daemon.ours.close()
    return end, daemon.calls


def test_a_task_that_outlives_its_kill_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attach, "KILLED_SECONDS", 0.1)
    end, calls = run(10.0, 0.0)
    assert "is still running" in str(end)
    assert list(calls) == ["start", "SIGTERM", "SIGKILL"]


def test_a_slow_start_takes_nothing_from_the_time_limit() -> None:
    end, calls = run(0.0, SLOW_START - 0.1)
    assert isinstance(end, TaskEnd)
    assert end.outcome == Outcome.DONE
    assert list(calls) == ["start"]


def test_a_slow_signal_takes_nothing_from_the_grace_period() -> None:
    end, calls = run(20.0, 0.0, killable=True)
    assert isinstance(end, TaskEnd)
    assert end.outcome == Outcome.TIMED_OUT
    assert calls["SIGKILL"] - calls["SIGTERM"] >= GRACE + SLOW_SIGNAL
