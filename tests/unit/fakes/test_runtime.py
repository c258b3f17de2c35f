"""The fake runtime: the behaviours that it shares with Docker, and what only a fake can do."""

import threading
from collections.abc import Callable

import pytest

from conductor.definitions.host import Network
from conductor.definitions.model import Health
from conductor.errors import ConductorError, Interrupted
from conductor.plan.replica import CheckResult
from conductor.runtime.port import RuntimeUnavailable
from tests.fakes.runtime import EPOCH, Behaviour, FakeCancellation, FakeClock, FakeHealth, FakeRuntime
from tests.fakes.runtime_contract import BEHAVIOURS, PROGRAMS, Case

NETWORK = Network(name="net", subnet="10.1.2.0/24", tasks="10.1.2.192/26")
HEALTH = Health(path="/up")


@pytest.fixture
def runtime() -> FakeRuntime:
    made = FakeRuntime()
    made.ensure_network(NETWORK)
    made.add_image("app:r1")
    for program, (_, behaviour) in PROGRAMS.items():
        made.behave(program, behaviour)
    return made


@pytest.fixture
def case(runtime: FakeRuntime) -> Case:
    def tag(reference: str) -> None:
        runtime.images[reference] = runtime.images["app:r1"]

    return Case(runtime, runtime.clock, "default", NETWORK, "app:r1", tag)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
def test_contract(case: Case, behaviour: Callable[[Case], None]) -> None:
    behaviour(case)


def test_a_failure_before_a_call_takes_effect(case: Case, runtime: FakeRuntime) -> None:
    runtime.fail("create", nth=2, error=ConductorError("cannot create: disk full"))
    case.started("serves", 2)
    with pytest.raises(ConductorError, match="disk full"):
        runtime.create(case.replica("serves", 3))
    assert len(runtime.snapshot().replicas) == 1
    case.started("serves", 3)
    assert len(runtime.snapshot().replicas) == 2


def test_a_failure_after_a_call_took_effect(case: Case, runtime: FakeRuntime) -> None:
    class Killed(BaseException):
        pass

    container = case.started("serves")
    runtime.fail("stop", error=Killed(), after=True)
    with pytest.raises(Killed):
        runtime.stop(container, 1)
    assert runtime.snapshot().replicas[0].state == "exited"


def test_a_failure_of_any_method(case: Case, runtime: FakeRuntime) -> None:
    runtime.fail("*", nth=3)
    runtime.containers()
    runtime.containers()
    with pytest.raises(ConductorError, match="cannot \\*: the test injected this failure"):
        runtime.image("app:r1")
    runtime.containers()


def test_a_daemon_that_is_away(case: Case, runtime: FakeRuntime) -> None:
    container = case.started("serves")
    events = runtime.events()
    runtime.away = True
    with pytest.raises(RuntimeUnavailable):
        next(events)
    for call in (runtime.containers, lambda: runtime.inspect(container), lambda: runtime.stop(container, 1)):
        with pytest.raises(RuntimeUnavailable):
            call()
    assert runtime.execute(container, ("true",), 1).unknown
    runtime.away = False
    assert runtime.containers().replicas[0].running


def test_calls_are_recorded(case: Case, runtime: FakeRuntime) -> None:
    container = case.started("serves")
    runtime.stop(container, 7.0)
    assert runtime.called("stop") == [(container, 7.0)]
    assert [call.method for call in runtime.calls][-3:] == ["create", "start", "stop"]


def test_what_happens_outside(case: Case, runtime: FakeRuntime) -> None:
    first, second = case.started("serves", 2), case.started("serves", 3)
    runtime.exit(first, 9, out_of_memory=True)
    runtime.pause(second)
    assert [replica.state for replica in runtime.snapshot().replicas] == ["exited", "paused"]
    assert str(runtime.inspect(first)) == "was killed: out of memory (exit code 9)"
    runtime.unpause(second)
    runtime.vanish(first)
    runtime.restart_host()
    assert [replica.state for replica in runtime.snapshot().replicas] == ["exited"]


def test_a_container_that_exits_later(case: Case, runtime: FakeRuntime) -> None:
    runtime.behave("serves", Behaviour(exits_after=10.0, exit_code=2))
    case.started("serves")
    assert runtime.containers().replicas[0].running
    runtime.clock.advance(10)
    assert runtime.containers().replicas[0].state == "exited"


def test_another_address_than_requested(case: Case, runtime: FakeRuntime) -> None:
    runtime.behave("serves", Behaviour(address="10.1.2.99:80"))
    state = runtime.inspect(case.started("serves"))
    assert state is not None
    assert state.address == "10.1.2.99:80"


def test_a_pull(runtime: FakeRuntime) -> None:
    published = runtime.publish_image("app:r2", digest="app@sha256:1")
    statuses: list[str] = []
    assert runtime.image("app:r2") is None
    assert runtime.pull("app:r2", statuses.append) == published == runtime.image("app:r2")
    assert statuses == ["Pulling", "Pull complete"]


def test_health(case: Case, runtime: FakeRuntime) -> None:
    case.started("serves", 2)
    case.started("unhealthy", 3)
    healthy, unhealthy = runtime.snapshot().replicas
    health = FakeHealth(runtime.clock, runtime)
    assert health.check(healthy, HEALTH, str).ok
    assert not health.check(unhealthy, HEALTH, str).ok
    assert runtime.clock.monotonic() == 30.0
    assert health.checks == [healthy.id, unhealthy.id]
    health.unhealthy.add(healthy.revision)
    assert str(health.check(healthy, HEALTH, str)) == "status 503 'not ready'"
    health.answers[healthy.id] = CheckResult(ok=True, seconds=0.0)
    assert health.check(healthy, HEALTH, str).ok
    runtime.exit(unhealthy.id)
    assert health.check(unhealthy, HEALTH, str).error == "connection refused"


def test_the_clock() -> None:
    clock = FakeClock()
    stamp = clock.now()
    clock.sleep(90.5)
    assert (clock.monotonic(), clock.wall(), int(clock.age(stamp))) == (90.5, EPOCH + 90.5, 90)
    assert clock.later(10.0) == "2027-01-15T08:01:40.500Z"


def test_a_cancellation_is_raised_once() -> None:
    cancellation = FakeCancellation(stop_at=2)
    cancellation.check()
    with pytest.raises(Interrupted):
        cancellation.wait(3.0)
    assert cancellation.clock.monotonic() == 3.0
    cancellation.check()


def test_a_cancellation_inside_a_shield_is_raised_after_it() -> None:
    cancellation = FakeCancellation(stop_at=1)
    with cancellation.shielded("one moment"):
        cancellation.check()
        cancellation.check()
    assert cancellation.notices == ["one moment"]
    with pytest.raises(Interrupted):
        cancellation.check()


def test_a_cancellation_after_the_commit_is_only_reported() -> None:
    cancellation = FakeCancellation(stop_at=1)
    cancellation.committed()
    cancellation.check()
    assert cancellation.notices == ["committed"]


def test_events_end_with_the_stream(runtime: FakeRuntime) -> None:
    events = runtime.events()
    received: list[object] = []
    thread = threading.Thread(target=lambda: received.extend(events))
    thread.start()
    runtime.end_events()
    thread.join(5)
    assert received == []
