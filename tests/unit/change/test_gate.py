"""The gate: a replica that passed is watched until its siblings pass, and checked again right before it gets traffic."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from conductor.change.gate import GateFailed
from conductor.output.events import StepFinished
from conductor.plan.replica import CheckResult, Replica
from tests.fakes.world import WEB, WORKER, World

HEALTHY = CheckResult(ok=True, seconds=0.0, status=200)
FAILED = CheckResult(ok=False, seconds=0.0, status=503)
UNKNOWN = CheckResult(ok=False, seconds=0.0, error="no answer from Docker", unknown=True)


def check_with(world: World, result: Callable[[Replica], CheckResult]) -> None:
    """Let the fake health checks return what `result` does."""
    world.health.check = lambda replica, _health, _redact: result(replica)  # type: ignore[method-assign]


def is_gated(world: World) -> bool:
    """True once the step `gate` of the latest change is over."""
    return [event.step for event in world.recorder.events if isinstance(event, StepFinished)][-1:] == ["gate"]


def test_a_replica_that_exits_after_it_passed_fails_the_gate(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": WEB})
    world.upgrade("r1")
    before = world.traffic.routes["web"]

    def result(replica: Replica) -> CheckResult:
        if replica.name.endswith("-1"):
            return HEALTHY
        first = next(one for one in world.replicas() if one.revision == "r2" and one.name.endswith("-1"))
        if first.running:
            world.runtime.exit(first.id, 3)
        return FAILED

    check_with(world, result)
    with pytest.raises(GateFailed) as failed:
        world.upgrade("r2")
    assert "exited with code 3" in failed.value.sentence
    assert world.running() == {"r1": 2}
    assert world.traffic.routes["web"] == before


@pytest.mark.parametrize("service", ["web", "worker"])
def test_a_replica_that_passes_no_more_before_it_gets_traffic_fails_the_gate(tmp_path: Path, service: str) -> None:
    world = World(tmp_path, {service: WEB if service == "web" else WORKER})
    world.upgrade("r1")
    switches = world.traffic.calls.count("switch")

    def result(_replica: Replica) -> CheckResult:
        world.clock.advance(1.0)
        return FAILED if is_gated(world) else HEALTHY

    check_with(world, result)
    with pytest.raises(GateFailed):
        world.upgrade("r2")
    assert list(world.running(service)) == ["r1"]
    assert world.traffic.calls.count("switch") == switches


def test_a_last_check_that_cannot_be_made_proves_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": WEB})
    check_with(world, lambda _: UNKNOWN if is_gated(world) else HEALTHY)
    world.upgrade("r1")
    assert world.running() == {"r1": 2}


def test_an_exit_during_a_check_with_a_long_timeout_fails_the_gate_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": {**WEB, "count": 1}})
    answered = threading.Event()

    def result(replica: Replica) -> CheckResult:
        if not answered.is_set():
            world.runtime.exit(replica.id, 4)
        answered.wait(30)
        return FAILED

    check_with(world, result)
    try:
        with pytest.raises(GateFailed) as failed:
            world.upgrade("r1")
        assert not answered.is_set()
        assert "exited with code 4" in failed.value.sentence
        assert world.clock.monotonic() == 0.0  # no timeout has passed
    finally:
        answered.set()
