"""The gate: a replica that passed is watched until its siblings pass, and checked again right before it gets traffic."""

import ipaddress
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import pytest

from conductor.change import actions
from conductor.change.gate import GateFailed
from conductor.definitions.model import Health
from conductor.output.events import Event, Progress, StepFinished
from conductor.plan.listening import Listener
from conductor.plan.replica import CheckResult, Replica
from conductor.plan.route import Cutover, Route
from tests.fakes.runtime import Behaviour
from tests.fakes.traffic import FakeTraffic
from tests.fakes.world import WEB, WORKER, World

HEALTHY = CheckResult(ok=True, seconds=0.0, status=200)
FAILED = CheckResult(ok=False, seconds=0.0, status=503)
UNKNOWN = CheckResult(ok=False, seconds=0.0, error="no answer from Docker", unknown=True)


def check_with(world: World, result: Callable[[Replica], CheckResult]) -> None:
    """Let the fake health checks return what `result` does. A gate that does not end fails the test."""
    until = time.monotonic() + 60

    def check(replica: Replica, _health: Health, _redact: Callable[[str], str]) -> CheckResult:
        assert time.monotonic() < until, "the gate does not end"
        return result(replica)

    world.health.check = check  # type: ignore[method-assign]


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


def test_a_kill_by_the_kernel_that_is_reported_late_is_the_reason(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": {**WEB, "count": 1}})

    def result(replica: Replica) -> CheckResult:
        world.runtime.late_out_of_memory.add(replica.id)
        if replica in world.replicas():
            world.runtime.exit(replica.id, 137)
        return FAILED

    check_with(world, result)
    with pytest.raises(GateFailed) as failed:
        world.upgrade("r1")
    assert failed.value.sentence.endswith("was killed: out of memory (exit code 137)")


@pytest.mark.parametrize("service", ["web", "worker"])
def test_a_replica_that_passes_no_more_before_it_gets_traffic_fails_the_gate(tmp_path: Path, service: str) -> None:
    world = World(tmp_path, {service: WEB if service == "web" else WORKER})
    world.upgrade("r1")
    before = dict(world.traffic.routes)

    def result(_replica: Replica) -> CheckResult:
        world.clock.advance(1.0)
        return FAILED if is_gated(world) else HEALTHY

    check_with(world, result)
    with pytest.raises(GateFailed):
        world.upgrade("r2")
    assert list(world.running(service)) == ["r1"]
    assert world.traffic.routes == before


def test_a_stop_first_service_waits_for_its_new_replicas(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": {**WEB, "count": 1, "order": "stop-first"}})
    results = iter([FAILED, FAILED, HEALTHY])
    check_with(world, lambda _: next(results, HEALTHY))
    world.upgrade("r1")
    assert world.running() == {"r1": 1}


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


LOOPBACK = (Listener(ipaddress.IPv4Address("127.0.0.1"), 80),)
REFUSED = CheckResult(ok=False, seconds=0.0, error="connection refused", refused=True)


@pytest.mark.parametrize(
    ("listeners", "answer", "shown"),
    [
        (LOOPBACK, REFUSED, True),
        (LOOPBACK, FAILED, False),  # it answers
        (None, REFUSED, False),
        ((Listener(ipaddress.IPv4Address("0.0.0.0"), 80),), REFUSED, False),
    ],
)
def test_a_failure_without_an_answer_names_what_the_container_listens_on(
    tmp_path: Path, listeners: tuple[Listener, ...] | None, answer: CheckResult, shown: bool
) -> None:
    world = World(tmp_path, {"web": {**WEB, "port": 80}})
    world.runtime.behave("web", Behaviour(listeners=listeners))

    def result(_replica: Replica) -> CheckResult:
        world.clock.advance(30.0)
        return answer

    check_with(world, result)
    with pytest.raises(GateFailed) as failed:
        world.upgrade("r1")
    assert any("only on 127.0.0.1:80" in line for line in failed.value.details) == shown
    assert "was not healthy" in failed.value.sentence


def test_a_failure_is_shown_also_when_the_daemon_does_not_name_the_process(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": WEB})
    world.runtime.fail("listeners")

    def result(_replica: Replica) -> CheckResult:
        world.clock.advance(30.0)
        return REFUSED

    check_with(world, result)
    with pytest.raises(GateFailed, match="connection refused"):
        world.upgrade("r1")
    assert world.runtime.failed == ["listeners"]


def when_gated(world: World, happens: Callable[[], None]) -> None:
    """Let something happen right after the step `gate`."""
    emit = world.recorder.emit

    def emit_and_happen(event: Event) -> None:
        emit(event)
        if isinstance(event, StepFinished) and event.step == "gate":
            happens()

    world.recorder.emit = emit_and_happen  # type: ignore[method-assign]


def newest(world: World, revision: str = "r2") -> Replica:
    return next(one for one in world.replicas() if one.revision == revision)


def test_a_replica_that_was_removed_after_the_gate_gets_no_traffic(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": WEB})
    world.upgrade("r1")
    before = world.traffic.routes["web"]
    when_gated(world, lambda: world.runtime.vanish(newest(world).id))
    with pytest.raises(GateFailed):
        world.upgrade("r2")
    assert world.traffic.routes["web"] == before
    assert world.running() == {"r1": 2}


def test_a_removal_during_a_check_fails_the_gate_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": {**WEB, "count": 1}})
    answered = threading.Event()

    def result(replica: Replica) -> CheckResult:
        world.runtime.vanish(replica.id)
        if not answered.wait(5):
            world.clock.advance(100.0)
        return FAILED

    check_with(world, result)
    try:
        with pytest.raises(GateFailed):
            world.upgrade("r1")
        assert not answered.is_set()
        assert world.clock.monotonic() == 0.0  # no timeout has passed
    finally:
        answered.set()


@pytest.mark.parametrize("service", ["web", "worker"])
def test_an_exit_fails_a_last_check_that_cannot_be_made(tmp_path: Path, service: str) -> None:
    """A health command cannot be started in a container that has exited, as when Docker is not responding."""
    world = World(tmp_path, {service: WEB if service == "web" else WORKER})

    def result(_replica: Replica) -> CheckResult:
        world.clock.advance(1.0)
        return UNKNOWN if is_gated(world) else HEALTHY

    check_with(world, result)
    when_gated(world, lambda: world.runtime.exit(world.replicas(service)[0].id, 5))
    with pytest.raises(GateFailed) as failed:
        world.upgrade("r1")
    assert "exited with code 5" in failed.value.sentence


class BusyTraffic(FakeTraffic):
    """Its lock is held by others for a while, during which something happens."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self._happens = happens

    def switch(self, routes: Collection[Route], record: Callable[[Cutover], None]) -> None:
        self._happens()
        super().switch(routes, record)


def test_the_last_check_follows_the_wait_for_the_lock_of_the_traffic(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": WEB})
    world.traffic = BusyTraffic(lambda: world.runtime.exit(newest(world, "r1").id))
    with pytest.raises(GateFailed):
        world.upgrade("r1")
    assert "web" not in world.traffic.routes


@pytest.mark.parametrize("happens", ["exit", "vanish"])
def test_a_kept_replica_that_ends_during_the_gate_gets_no_traffic(tmp_path: Path, happens: str) -> None:
    world = World(tmp_path, {"web": WEB})
    world.upgrade("r1")
    gone, stays = world.replicas()
    when_gated(world, lambda: getattr(world.runtime, happens)(gone.id))
    world.perform(actions.scale(3))
    assert gone.endpoint not in world.traffic.routes["web"]
    assert stays.endpoint in world.traffic.routes["web"]


def test_a_wait_in_which_nothing_changes_is_reported_again_and_again(tmp_path: Path) -> None:
    """Without a terminal, silence looks like a hang."""
    world = World(tmp_path, {"web": {**WEB, "health": {"path": "/", "start_timeout": "60s", "gate_interval": "10ms"}}})

    def result(_replica: Replica) -> CheckResult:
        world.clock.advance(1.0)
        return FAILED

    check_with(world, result)
    with pytest.raises(GateFailed):
        world.upgrade("r1")
    reports = [one for one in world.recorder.events if isinstance(one, Progress) and one.step == "gate"]
    assert len(reports) > 1
    assert len({one.text for one in reports}) <= 2
