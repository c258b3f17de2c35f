"""Changes of a fleet: the steps of a single host, with the state in shared objects, and three edges that confirm.

Each scenario also runs once for each call of the shared objects and of the runtime, with a process that is killed there; a
command on another manager recovers what it left.
"""

import contextlib
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conductor.change import actions
from conductor.errors import ConductorError, LockYielded
from conductor.output.events import Warned
from conductor.plan.edges import RouteStep, action_text
from conductor.state.fleet.store import FleetStore
from conductor.traffic.port import TrafficUnavailable
from tests.fakes.fleet import FleetWorld, leases
from tests.fakes.runtime import Behaviour
from tests.fakes.world import WEB, WORKER

Found = dict[str, dict[str, int]]


@dataclass(frozen=True)
class Scenario:
    """An action, and the replicas by revision of each service before and after it."""

    act: Callable[[FleetWorld], Any]
    new: Found
    old: Found = field(default_factory=lambda: {"web": {"r1": 2}})
    services: dict[str, dict[str, Any]] = field(default_factory=lambda: {"web": WEB})
    prepare: Callable[[FleetWorld], Any] = lambda world: world.upgrade("r1")


def deployed_twice(world: FleetWorld) -> None:
    world.upgrade("r1")
    world.upgrade("r2")


BOTH = {"web": WEB, "worker": WORKER}
SCENARIOS = {
    "first deploy": Scenario(lambda w: w.upgrade("r1"), {"web": {"r1": 2}}, {"web": {}}, prepare=lambda w: None),
    "upgrade": Scenario(lambda w: w.upgrade("r2"), {"web": {"r2": 2}}),
    "two services": Scenario(
        lambda w: w.upgrade("r2"), {"web": {"r2": 2}, "worker": {"r2": 1}}, {"web": {"r1": 2}, "worker": {"r1": 1}}, BOTH
    ),
    "rollback": Scenario(
        lambda w: w.perform(actions.rollback(None)), {"web": {"r1": 2}}, {"web": {"r2": 2}}, prepare=deployed_twice
    ),
    "restart": Scenario(lambda w: w.restart(), {"web": {"r1": 2}}),
    "scale up": Scenario(lambda w: w.perform(actions.scale(3)), {"web": {"r1": 3}}),
    "scale down": Scenario(lambda w: w.perform(actions.scale(1)), {"web": {"r1": 1}}),
    "stop": Scenario(lambda w: w.perform(actions.stop("")), {"web": {}}),
    "start": Scenario(
        lambda w: w.perform(actions.start), {"web": {"r1": 2}}, {"web": {}},
        prepare=lambda w: (w.upgrade("r1"), w.perform(actions.stop(""))),
    ),
    "maintenance": Scenario(lambda w: w.perform(actions.maintenance_on("x")), {"web": {"r1": 2}}),
}  # fmt: skip


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as made:
        yield Path(made)


def prepared(directory: Path, scenario: Scenario) -> FleetWorld:
    shutil.rmtree(directory)
    directory.mkdir()
    world = FleetWorld(directory, scenario.services)
    scenario.prepare(world)
    world.runtime.lost.clear()
    world.calls = 0
    world.runtime.calls.clear()
    return world


def assert_right(world: FleetWorld, *expected: Found, without: tuple[str, ...] = ()) -> None:
    """One of these is what runs, and what every edge serves. Nothing else is left, and no request was lost."""
    services = expected[0].keys()
    assert {service: world.running(service) for service in services} in expected
    assert world.runtime.lost == []
    store = FleetStore(world.directory / "reader", world.objects, leases(world.objects, world.clock, "reader"))
    assert (store.in_progress(), store.addresses().reserved) == ((), {})
    for service in services:
        replicas = world.replicas(service)
        assert all(one.running for one in replicas)
        if world.definitions.services[service].service.nginx:
            endpoints = {one.endpoint for one in replicas}
            for name in sorted(world.edges.keys() - set(without)):
                traffic = world.edges[name].traffic
                assert (traffic.serving(service), traffic.known()) == (endpoints, endpoints), name


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_change(name: str, directory: Path) -> None:
    scenario = SCENARIOS[name]
    world = prepared(directory, scenario)
    scenario.act(world)
    assert_right(world, scenario.new)


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.long), 6])
def test_a_process_that_is_killed_at_any_call_is_recovered_on_another_manager(
    name: str, every: int, directory: Path
) -> None:
    scenario = SCENARIOS[name]
    world = prepared(directory, scenario)
    scenario.act(world)
    objects, runtime = world.calls, len(world.runtime.calls)
    for number in range(1, objects + runtime + 1, every):
        world = prepared(directory, scenario)
        if number <= objects:
            world.die_at = number
        else:
            world.runtime.fail("*", number - objects, LockYielded(), after=bool(number % 2))
        with contextlib.suppress(LockYielded, ConductorError):
            scenario.act(world)
        world.die_at, world.node = None, "h2"
        world.recover(tuple(scenario.services))
        assert_right(world, scenario.old, scenario.new)


def test_a_release_that_fails_is_rolled_back_and_no_edge_has_seen_it(directory: Path) -> None:
    world = prepared(directory, SCENARIOS["upgrade"])
    world.runtime.behave("r2", Behaviour(healthy=False))
    with pytest.raises(ConductorError, match="was not healthy"):
        world.upgrade("r2")
    assert_right(world, {"web": {"r1": 2}})


@pytest.mark.parametrize("step", ["check", "gate", "cutover", "drain"])
def test_an_edge_that_does_not_answer_is_named(step: RouteStep, directory: Path) -> None:
    """Before the cutover nothing has changed. Later, the next command without it ends the change."""
    world = prepared(directory, SCENARIOS["upgrade"])
    world.silent_from["h2"] = step
    with pytest.raises(
        ConductorError, match=f"cannot {action_text(step, ['web'])}: edge h2 did not confirm this step"
    ) as named:
        world.upgrade("r2")
    assert "--without-edge h2" in "\n".join((named.value.hint, *named.value.details))
    assert world.runtime.lost == []
    if step in {"check", "gate"}:
        assert_right(world, {"web": {"r1": 2}}, without=("h2",))
    world.without.add("h2")
    world.recover(["web"])
    expected: Found = {"web": {"r2" if step == "drain" else "r1": 2}}
    assert_right(world, expected, without=("h2",))
    world.edges["h2"].start()
    world.silent_from.clear()
    world.silent.clear()
    world.follow()
    assert_right(world, expected)


def test_a_replica_that_swarm_is_about_to_restart_is_stopped_before_another_one_starts(directory: Path) -> None:
    service = {**WEB, "order": "stop-first", "count": 1}
    world = prepared(directory, Scenario(lambda w: None, {}, services={"web": service}))
    [old] = world.replicas("web")
    world.runtime.restarting.add(old.id)
    world.upgrade("r2")
    calls = [(call.method, call.arguments[0]) for call in world.runtime.calls if call.method in {"start", "stop"}]
    [new] = world.replicas("web")
    assert calls == [("stop", old.id), ("start", new.id)]


def test_a_replica_that_cannot_be_removed_is_a_service_of_swarm(directory: Path) -> None:
    world = prepared(directory, SCENARIOS["upgrade"])
    world.runtime.fail("remove", error=ConductorError("cannot remove it"))
    world.upgrade("r2")
    warned = [one.text for one in world.recorder.events if isinstance(one, Warned)]
    assert [text.partition(" shop")[0] for text in warned if "by hand" in text] == [
        f"cannot remove it; remove it by hand: docker service rm {one.name}"
        for one in world.replicas("web")
        if one.revision == "r1"
    ]


def test_a_stop_is_made_by_every_edge_also_when_the_nginx_of_this_manager_is_down(directory: Path) -> None:
    """On a single host no request can be lost then."""
    world = prepared(directory, SCENARIOS["upgrade"])
    world.edges["h1"].traffic.running = False
    with pytest.raises(TrafficUnavailable):
        world.perform(actions.stop(""))
    assert_right(world, {"web": {"r1": 2}})
    world.without.add("h1")
    world.perform(actions.stop(""))
    assert_right(world, {"web": {}}, without=("h1",))


def test_a_replica_that_one_edge_cannot_reach_is_refused(directory: Path) -> None:
    world = prepared(directory, SCENARIOS["upgrade"])
    world.edges["h3"].health.unhealthy |= {f"10.9.0.{node}:21002" for node in (1, 2, 3)}
    with pytest.raises(ConductorError, match="cannot check the new replicas of web: edge h3 failed"):
        world.upgrade("r2")
    assert_right(world, {"web": {"r1": 2}})
