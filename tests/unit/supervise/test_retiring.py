"""Old replicas that a deploy did not wait for: `supervise` removes each one once it has exited or its time is over."""

import msgspec
import pytest

from conductor.plan.release import Hold
from conductor.supervise.task_cleanup import INTERVAL_SECONDS
from tests.fakes.runtime import Behaviour
from tests.fakes.world import WEB
from tests.unit.supervise.conftest import SupervisedHost

GRACE, STOPS_AFTER = 600.0, 100.0


@pytest.fixture
def deployed(host: SupervisedHost) -> SupervisedHost:
    """Two replicas of r1 have got their stop signal, and r2 is live. They exit after 100 seconds."""
    host.define({"web": {**WEB, "stop": {"grace": f"{GRACE}s", "wait": False}}})
    host.runtime.behave("r1", Behaviour(stops_after=STOPS_AFTER))
    host.restart()
    host.upgrade("r2")
    assert host.running() == {"r1": 2, "r2": 2}
    return host


def test_they_are_left_alone_while_they_may_run(deployed: SupervisedHost) -> None:
    calls = len(deployed.runtime.called("stop"))
    deployed.run_passes(STOPS_AFTER - 5)
    assert deployed.running() == {"r1": 2, "r2": 2}
    assert (len(deployed.runtime.called("stop")), deployed.history()) == (calls, [])
    assert "web" not in deployed.status().services  # nothing has to be done


def test_they_are_removed_once_they_have_exited(deployed: SupervisedHost) -> None:
    deployed.run_passes(STOPS_AFTER + INTERVAL_SECONDS)
    assert [one.revision for one in deployed.replicas()] == ["r2", "r2"]
    assert deployed.store.wanted("web").retiring == ()
    assert deployed.running() == {"r2": 2}
    assert not [line for line in deployed.lines if "warning" in line or "killed" in line]


def test_one_that_does_not_stop_is_killed_and_reported(deployed: SupervisedHost) -> None:
    first, second = (one for one in deployed.replicas() if one.revision == "r1")
    for one in (first, second):
        deployed.runtime.change(one.id, exits_after=None)
    deployed.run_passes(GRACE - 5)
    assert deployed.running() == {"r1": 2, "r2": 2}
    deployed.run_passes(10)
    assert deployed.running() == {"r2": 2}
    for one in (first, second):
        assert any(f"{one.name} did not stop within 10m and was killed" in line for line in deployed.lines)


def test_a_replica_removed_by_hand_is_forgotten(deployed: SupervisedHost) -> None:
    for one in deployed.replicas():
        if one.revision == "r1":
            deployed.runtime.vanish(one.id)
    deployed.run_pass()
    assert deployed.store.wanted("web").retiring == ()


def test_after_a_restart_of_the_host_they_are_removed_and_not_started_again(deployed: SupervisedHost) -> None:
    deployed.runtime.restart_host()
    deployed.supervise()
    deployed.run_passes(10)
    assert [one.revision for one in deployed.replicas()] == ["r2", "r2"]
    assert deployed.running() == {"r2": 2}


def test_a_paused_service_keeps_them(deployed: SupervisedHost) -> None:
    hold = Hold(reason="", who="ada", since=deployed.clock.now())
    deployed.store.write_wanted(msgspec.structs.replace(deployed.store.wanted("web"), paused=hold))
    deployed.run_passes(STOPS_AFTER + 10)
    assert len(deployed.replicas()) == 4


def test_an_exited_replica_of_the_live_release_is_still_replaced(deployed: SupervisedHost) -> None:
    live = next(one for one in deployed.replicas() if one.revision == "r2")
    deployed.runtime.exit(live.id)
    deployed.run_passes(10)
    assert deployed.running() == {"r1": 2, "r2": 2}
    assert live.id not in {one.id for one in deployed.replicas()}


@pytest.mark.parametrize("seconds", [7200.0, -7200.0])
def test_a_clock_that_is_set_changes_no_grace_period(deployed: SupervisedHost, seconds: float) -> None:
    for one in deployed.replicas():
        if one.revision == "r1":
            deployed.runtime.change(one.id, exits_after=None)
    deployed.clock.set_forward(seconds)
    deployed.run_passes(GRACE - 5)
    assert deployed.running() == {"r1": 2, "r2": 2}
    deployed.run_passes(10)
    assert deployed.running() == {"r2": 2}
