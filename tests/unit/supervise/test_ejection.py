"""An edge sends requests to the endpoints that answer on its own path, without a manager."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from conductor.definitions.load import restore
from conductor.errors import ConductorError
from conductor.health.monitor import Target
from conductor.plan.backoff import SPACING_SECONDS
from conductor.plan.edges import RouteRequest, shared
from conductor.plan.reconcile import Condition
from conductor.plan.release import Maintenance
from conductor.plan.replica import Replica
from conductor.plan.route import Route
from conductor.supervise.edge_routes import EdgeRoutes
from conductor.supervise.ejection import Ejector
from conductor.supervise.log import SupervisorLog
from tests.fakes.runtime import FakeClock
from tests.fakes.traffic import FakeTraffic

DEFINITION = restore("web", {"image": "app", "port": 80, "nginx": {}, "health": {"path": "/up"}})
ONE, TWO, MOVED = "10.0.0.1:21000", "10.0.0.2:21001", "10.0.0.3:21000"


class Host:
    """One edge with a route to two replicas."""

    def __init__(self, directory: Path) -> None:
        self.traffic, self.clock = FakeTraffic(), FakeClock()
        self.conditions: dict[str, Condition] = {}
        self.unconnected: frozenset[str] = frozenset()
        self.targets: dict[str, Target] = {}
        self.replicas: list[Replica] = []
        self.asked = 0
        self.directory = directory
        self.start()
        self.put("c1", ONE, TWO)

    def start(self) -> None:
        self.routes = EdgeRoutes(self.traffic, self.directory)
        self.ejector = Ejector(
            traffic=self.traffic, routes=self.routes, clock=self.clock, log=SupervisorLog(lambda _: None),
            watch=self.watch, condition=lambda one: self.conditions.get(one, Condition.HEALTHY), unconnected=lambda: self.unconnected,
            replicas=self.list,
        )  # fmt: skip

    def put(self, id_: str, *endpoints: str, maintenance: Maintenance | None = None) -> None:
        made = shared(Route(DEFINITION, endpoints, maintenance=maintenance))
        self.routes.put({"web": RouteRequest(id=id_, step="cutover", route=made)})

    def watch(self, targets: Iterable[Target]) -> None:
        """As the monitor does: a target that is new and has to pass first is starting."""
        found = {one.replica.id: one for one in targets}
        for new in found.keys() - self.targets.keys():
            if found[new].starting:
                self.conditions[new] = Condition.STARTING
        self.targets = found

    def list(self) -> list[Replica]:
        self.asked += 1
        return self.replicas

    def eject(self) -> frozenset[str]:
        """Look again, and return what is served."""
        self.ejector.eject()
        return self.traffic.serving("web")


@pytest.fixture
def host() -> Iterator[Host]:
    with tempfile.TemporaryDirectory() as directory:
        yield Host(Path(directory))


def test_each_endpoint_is_checked(host: Host) -> None:
    assert host.eject() == {ONE, TWO}
    assert set(host.targets) == {ONE, TWO}
    assert host.targets[ONE].health == DEFINITION.service.health
    assert not any(one.starting for one in host.targets.values())
    assert host.traffic.calls.count("switch") == 1


@pytest.mark.parametrize("fails", ["its health check", "its connection"])
def test_an_endpoint_that_fails_leaves_at_once_and_returns_later(host: Host, fails: str) -> None:
    host.eject()
    if fails == "its connection":
        host.unconnected = frozenset({ONE})
    else:
        host.conditions[ONE] = Condition.UNHEALTHY
    assert host.eject() == {TWO}
    host.conditions[ONE], host.unconnected = Condition.HEALTHY, frozenset()
    assert host.eject() == {TWO}
    host.clock.sleep(SPACING_SECONDS)
    assert host.eject() == {ONE, TWO}


def test_when_none_answers_nothing_is_changed(host: Host) -> None:
    host.conditions |= {ONE: Condition.UNHEALTHY, TWO: Condition.UNHEALTHY}
    assert host.eject() == {ONE, TWO}
    host.conditions[TWO] = Condition.HEALTHY
    assert host.eject() == {TWO}
    host.conditions[TWO] = Condition.UNHEALTHY
    assert host.eject() == {TWO}


def test_after_a_restart_an_endpoint_that_was_taken_out_has_to_pass_first(host: Host) -> None:
    host.conditions[ONE] = Condition.UNHEALTHY
    host.eject()
    host.conditions.clear()
    host.targets.clear()
    host.start()
    assert host.eject() == {TWO}
    host.conditions.clear()
    assert host.eject() == {ONE, TWO}


def test_a_switch_that_is_not_finished_is_left_alone(host: Host) -> None:
    host.traffic.fail("switch", at="after")
    with pytest.raises(ConductorError, match="injected"):
        host.put("c2", TWO)
    host.conditions[TWO] = Condition.UNHEALTHY
    calls = list(host.traffic.calls)
    host.eject()
    assert host.traffic.calls == calls


def test_maintenance_is_left_alone(host: Host) -> None:
    host.put("c2", ONE, TWO, maintenance=Maintenance(reason="", who="", since=""))
    host.conditions[ONE] = Condition.UNHEALTHY
    assert host.eject() == {ONE, TWO}


def test_a_failed_switch_is_tried_again_later(host: Host) -> None:
    host.conditions[ONE] = Condition.UNHEALTHY
    host.traffic.fail("switch")
    with pytest.raises(ConductorError, match="injected"):
        host.eject()
    assert host.eject() == {TWO}


def replica(service: str, endpoint: str, state: str = "running") -> Replica:
    return Replica(
        id=endpoint, name="", service=service, revision="", release="", change="", address=endpoint, state=state
    )


def test_a_replica_that_swarm_started_on_another_node_is_followed_once_it_answers(host: Host) -> None:
    host.eject()
    host.ejector.locate()
    assert host.asked == 0  # no manager is asked at rest
    host.unconnected = frozenset({ONE})
    assert host.eject() == {TWO}
    host.replicas = [replica("web", MOVED), replica("api", ONE), replica("web", ONE, "exited")]
    host.ejector.locate()
    host.clock.sleep(SPACING_SECONDS)
    assert host.eject() == {TWO}
    assert host.targets[MOVED].starting
    host.conditions[MOVED] = Condition.HEALTHY
    assert host.eject() == {MOVED, TWO}
    asked = host.asked
    host.ejector.locate()
    assert host.asked == asked
    host.put("c2", ONE)  # a later release may have the port on the first node
    host.clock.sleep(SPACING_SECONDS)
    host.conditions.clear()
    host.unconnected = frozenset()
    assert host.eject() == {ONE}
