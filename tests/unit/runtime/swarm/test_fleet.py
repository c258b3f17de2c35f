"""Which managers are edges, and what a process may still do when another one has taken over."""

from typing import Any, cast

import pytest

from conductor.errors import ConductorError, UsageError
from conductor.plan.lease import LEASE_SECONDS, LeaseLostError
from conductor.plan.node import Node
from conductor.runtime.docker.api import EngineApi
from conductor.runtime.swarm.api import SwarmApi
from conductor.runtime.swarm.fleet import EDGE, Fleet, Present, fleet
from conductor.runtime.swarm.objects import SwarmObjects
from conductor.state.fleet.objects import RecentObjects
from tests.fakes.fleet import leases
from tests.fakes.objects import FakeObjects
from tests.fakes.runtime import FakeClock
from tests.unit.runtime.swarm.test_api import Manager


def node(name: str, role: str = "manager", edge: str = "true", state: str = "ready") -> dict[str, Any]:
    return {
        "ID": f"id-{name}", "Description": {"Hostname": name}, "Status": {"State": state},
        "Spec": {"Role": role, "Availability": "active", "Labels": {EDGE: edge} if edge else None},
    }  # fmt: skip


def made(*nodes: dict[str, Any]) -> Fleet:
    clock = FakeClock()
    swarm = SwarmApi(cast("EngineApi", Manager(clock, (200, list(nodes)))), clock)
    objects = SwarmObjects(swarm, "default")
    return Fleet(swarm, objects, RecentObjects(objects, clock), leases(FakeObjects(), clock, "h1"))


def test_edges() -> None:
    shared = made(node("h3"), node("h1"), node("h2", edge="false"), node("w1", "worker", edge=""))
    assert shared.edges() == ("h1", "h3")
    assert shared.edges(["h3"]) == ("h1",)
    with pytest.raises(UsageError, match="cannot continue without edge h2: the edges are h1, h3"):
        shared.edges(["h2", "h1"])


def test_who_can_act_now() -> None:
    shared = made(
        node("h3", state="unknown"), node("h1"), node("h2", state="down"), node("w1", edge="", state="unknown")
    )
    assert shared.present() == Present(edges=frozenset({"h1", "h3"}), not_ready=frozenset({"h2", "h3", "w1"}))


@pytest.mark.parametrize("ids", [("1", "2"), ("2", "1")])
def test_a_host_that_joined_again_is_ready(ids: tuple[str, str]) -> None:
    """Swarm still lists the node that left, with its label."""
    left, joined = node("h1", state="down"), node("h1")
    shared = made(*sorted(({**left, "ID": ids[0]}, {**joined, "ID": ids[1]}), key=lambda one: one["ID"]))
    assert shared.present() == Present(edges=frozenset({"h1"}), not_ready=frozenset())


def test_members() -> None:
    clock = FakeClock()
    made = {"ID": "t", "CreatedAt": "2026-01-01T00:00:00Z"}
    running = {**made, "NodeID": "id-h1", "Status": {"State": "running", "Timestamp": "2026-01-01T00:01:00.123456789Z"}}
    tasks = [
        {**running, "UpdatedAt": "2026-01-01T00:00:00.123456789Z"},
        {**running, "UpdatedAt": "2026-01-01T00:03:00.1Z"},
        {**made, "NodeID": "id-h2", "Status": {"State": "failed", "Timestamp": "2026-01-01T00:00:00Z"}},
    ]
    one = {**node("h1"), "ManagerStatus": {"Reachability": "reachable", "Addr": "10.9.0.1:2377"}}
    two = {**node("h2", "worker", edge="", state="down"), "Status": {"State": "down", "Addr": "10.9.0.2"}}
    swarm = SwarmApi(cast("EngineApi", Manager(clock, (200, tasks), (200, [two, one]))), clock)
    objects = SwarmObjects(swarm, "default")
    shared = Fleet(swarm, objects, RecentObjects(objects, clock), leases(FakeObjects(), clock, "h1"))
    assert shared.members() == (
        Node(
            name="h1", address="10.9.0.1", is_up=True, is_manager=True, is_reachable=True, is_edge=True, clock_offset=60.0
        ),
        Node(name="h2", address="10.9.0.2", is_up=False, is_manager=False, is_reachable=False, is_edge=False),
    )  # fmt: skip


def test_an_edge_on_a_worker_is_refused_by_name() -> None:
    with pytest.raises(ConductorError, match="cannot use edge w1: it is a worker") as refused:
        made(node("h1"), node("w1", "worker")).edges()
    assert "docker node promote w1" in refused.value.hint


def test_all_actions_of_a_process_share_their_leases() -> None:
    arguments = ("unix:///nowhere/docker.sock", "default", "supervise")
    assert fleet(*arguments, yields=True).leases is fleet(*arguments, yields=True).leases


def test_a_process_whose_lease_was_taken_is_stopped() -> None:
    objects, clock = FakeObjects(), FakeClock()
    one, other = leases(objects, clock, "h1"), leases(objects, clock, "h2")
    one.verify()  # it holds none
    for name in ("web", "api"):
        assert one.take(name) is None
    one.verify()
    while other.take("api"):
        clock.sleep(LEASE_SECONDS / 5)
    with pytest.raises(LeaseLostError, match="process 1 on h2"):
        one.verify()
    one.release("api")
    one.verify()
