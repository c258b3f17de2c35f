"""Checks of a fleet, each found and not found."""

from typing import Any

import msgspec
import pytest

from conductor.definitions.host import HostFleet
from conductor.doctor.finding import Severity
from conductor.plan.edges import EdgeState
from conductor.plan.node import Node
from conductor.runtime.port import NotManager
from tests.fakes.traffic import FakeTraffic
from tests.unit.doctor.conftest import HostUnderTest, Row, causes_its_finding

MANAGER = Node(
    name="h1", address="10.9.0.1", is_up=True, is_manager=True, is_reachable=True, is_edge=True, clock_offset=0.3
)  # fmt: skip
NODES = [msgspec.structs.replace(MANAGER, name=f"h{number}", address=f"10.9.0.{number}") for number in (1, 2, 3)]


class EdgeTraffic(FakeTraffic):
    """Says what a test says of the edges."""

    states: tuple[EdgeState, ...] = (EdgeState(name="h2", step="cutover", confirmed=True),)

    def edges(self, service: str) -> tuple[EdgeState, ...]:
        return self.states


def change(number: int, **fields: Any) -> Any:
    """Change one node."""

    def arrange(host: HostUnderTest) -> None:
        host.nodes[number] = msgspec.structs.replace(host.nodes[number], **fields)

    return arrange


def late(host: HostUnderTest) -> None:
    traffic: Any = host.world.traffic
    traffic.states = (EdgeState(name="h2", step="cutover", confirmed=False, error="no room"),)


def no_manager(host: HostUnderTest) -> None:
    def refuse() -> Any:
        raise NotManager("cannot list nodes: this host is not a manager of a Docker Swarm", "docker swarm init")

    host.list_nodes = refuse


def no_edges(host: HostUnderTest) -> None:
    host.nodes[:] = [msgspec.structs.replace(one, is_edge=False) for one in host.nodes]


ROWS = {
    "no manager": Row("fleet-manager", Severity.ERROR, no_manager),
    "a manager does not answer": Row("fleet-quorum", Severity.WARNING, change(2, is_reachable=False)),
    "two managers": Row("fleet-quorum", Severity.WARNING, lambda host: host.nodes.pop()),
    "no edge": Row("fleet-edge", Severity.ERROR, no_edges),
    "an edge on a worker": Row("fleet-edge", Severity.ERROR, change(0, is_manager=False, is_reachable=False)),
    "not confirmed": Row("fleet-unconfirmed", Severity.ERROR, late, "web"),
    "a public address": Row("fleet-exposed-ports", Severity.WARNING, change(1, address="8.8.8.8")),
    "clock ahead": Row("fleet-clock", Severity.WARNING, change(1, clock_offset=60.0)),
    "clock behind": Row("fleet-clock", Severity.WARNING, change(1, clock_offset=-60.0)),
}


@pytest.fixture
def fleet(host: HostUnderTest) -> HostUnderTest:
    routes = host.world.traffic.routes
    host.world.traffic = EdgeTraffic()
    host.world.traffic.routes = routes
    host.set_host(fleet=HostFleet(ports=(21000, 21999)))
    host.nodes = list(NODES)
    return host


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_each_trouble_is_found(fleet: HostUnderTest, row: Row) -> None:
    causes_its_finding(fleet, row)


def test_the_loss_of_one_of_five_managers_leaves_one_to_spare(fleet: HostUnderTest) -> None:
    fleet.nodes += [msgspec.structs.replace(MANAGER, name=name) for name in ("h4", "h5")]
    change(4, is_reachable=False)(fleet)
    [found] = [one for one in fleet.report().findings if one.check == "fleet-quorum"]
    assert "one more" not in found.why
    assert found.what == "1 of 5 managers is not responding: h5"


def test_swarm_excludes_live_restore(fleet: HostUnderTest) -> None:
    fleet.world.runtime.settings.update(keeps_containers=False)
    assert "docker-live-restore" not in {one.check for one in fleet.report().findings}


def test_on_a_host_that_is_no_manager_only_that_is_reported(fleet: HostUnderTest) -> None:
    """Each check of the fleet fails there, and no file is damaged."""
    no_manager(fleet)
    fleet.world.store.addresses = fleet.list_nodes  # type: ignore[method-assign,assignment]
    checks = {one.check for one in fleet.report().findings}
    assert "fleet-manager" in checks
    assert not checks & {"damaged-state", "check-failed", "fleet-quorum"}
