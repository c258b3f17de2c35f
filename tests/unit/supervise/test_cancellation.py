"""When an action of `supervise` yields."""

import pytest

from conductor.clock import Clock
from conductor.errors import LockYielded
from conductor.supervise.cancellation import CHECK_SECONDS, YieldCancellation


class FakeClock(Clock):
    """Sleeps without waiting."""

    def __init__(self) -> None:
        self.now_seconds = 100.0

    def monotonic(self) -> float:
        return self.now_seconds

    def sleep(self, seconds: float) -> None:
        self.now_seconds += seconds


class Command:
    """Another command, which waits from `arrives` on; `looks` are the times at which `supervise` looked for it."""

    def __init__(self, arrives: float) -> None:
        self.clock = FakeClock()
        self.looks: list[float] = []
        self._arrives = arrives
        self.cancellation = YieldCancellation(self._waits, self.clock)

    def _waits(self) -> bool:
        self.looks.append(self.clock.now_seconds)
        return self.clock.now_seconds >= self._arrives


def test_it_yields_within_a_check_interval() -> None:
    command = Command(arrives=103.1)
    with pytest.raises(LockYielded):
        command.cancellation.wait(60.0)
    assert command.clock.now_seconds <= 103.1 + CHECK_SECONDS + 0.001


def test_without_a_waiting_command_it_sleeps_for_the_whole_time() -> None:
    command = Command(arrives=1000.0)
    command.cancellation.wait(1.0)
    assert command.clock.now_seconds == pytest.approx(101.0)


def test_it_looks_at_most_every_check_interval() -> None:
    command = Command(arrives=1000.0)
    for _ in range(100):
        command.cancellation.check()
        command.clock.sleep(0.01)
    assert len(command.looks) <= 1.0 / CHECK_SECONDS + 1


def test_it_does_not_yield_while_shielded() -> None:
    command = Command(arrives=0.0)
    with command.cancellation.shielded("outer"):
        with command.cancellation.shielded("inner"):
            command.cancellation.check()
        command.cancellation.wait(1.0)
    assert command.looks == []
    with pytest.raises(LockYielded):
        command.cancellation.check()


def test_it_yields_after_the_commit_too() -> None:
    command = Command(arrives=0.0)
    command.cancellation.committed()
    with pytest.raises(LockYielded):
        command.cancellation.check()
