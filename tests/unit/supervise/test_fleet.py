"""Passes of `supervise` on three managers of a fleet: one of them acts, and what it does needs every edge."""

import contextlib
import json
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conductor.cancellation import Cancellation
from conductor.change import actions
from conductor.change.context import Context
from conductor.change.install_crontab import remove
from conductor.definitions.host import Host
from conductor.errors import ConductorError, LockYielded
from conductor.health.monitor import HealthMonitor
from conductor.notify.notifier import Notifier
from conductor.output.printers import Output
from conductor.plan.backoff import RESET_SECONDS
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.lease import AFTER_WRITE_SECONDS, LEASE_SECONDS
from conductor.state.fleet.edges import Edges
from conductor.state.fleet.history import SHARED_ENTRIES, FleetHistory, HistoryFollower
from conductor.state.fleet.locks import FleetLocks
from conductor.state.fleet.objects import RecentObjects
from conductor.state.fleet.store import FleetStore
from conductor.state.history import History
from conductor.supervise.contexts import Contexts
from conductor.supervise.definitions_file import DefinitionsFile
from conductor.supervise.edge_loop import EdgeLoop, EdgeParts
from conductor.supervise.log import SupervisorLog
from conductor.supervise.main import Supervisor
from conductor.supervise.notifications import Notifications
from conductor.supervise.observe import HostObservation
from conductor.traffic.fleet.traffic import FleetTraffic
from tests.fakes.fleet import EDGES, FleetWorld, leases
from tests.fakes.runtime import Behaviour, FakeCancellation
from tests.fakes.world import WEB


class Manager:
    """One manager's `supervise`, which runs in passes."""

    def __init__(self, world: "SupervisedFleet", name: str) -> None:
        self.world, self.name = world, name
        self.lines: list[str] = []
        self.path = world.directory / f"{name}.yml"
        self.define(world.services)
        self.leases = leases(world.objects, world.clock, name)
        recent = RecentObjects(world.objects, world.clock)
        edges = Edges(recent, self.leases, world.clock, FakeCancellation(world.clock))
        directory = world.directory / name
        file = self.file = DefinitionsFile(self.path, directory / "state")
        log, ended = SupervisorLog(self.lines.append), threading.Event()
        store = FleetStore(directory / "state", recent, self.leases)
        notifications = Notifications(Notifier(lambda: file.definitions, store, world.clock), log)
        contexts = Contexts(self._context, file.definitions, world.clock, log, ended, notify=notifications.put,
                            history=FleetHistory(directory / "state", self.leases))  # fmt: skip
        parts = EdgeParts(
            lambda: name, edges, world.edges[name].traffic, self.leases, store, recent.expire,
            lambda: ({one: view for one, view in edges.views().items() if one not in world.down}, world.not_ready | world.down),
            HistoryFollower(directory / "state", recent).follow, lambda: iter(()),
        )  # fmt: skip
        self.edge = EdgeLoop(parts, contexts.passes, log, ended, lambda: file.definitions)
        self.edge.monitor.stop()  # tests say what the checks of each edge find
        self.supervisor = Supervisor(file, contexts, log, ended, notifications, edge=self.edge)

    def define(self, services: dict[str, dict[str, Any]]) -> None:
        """Write the definitions file of this manager."""
        directory = self.world.directory / self.name
        for part in ("cron", "run"):
            (directory / part).mkdir(parents=True, exist_ok=True)
        dirs = {
            "state_dir": f"{directory}/state",
            "runtime_dir": f"{directory}/run",
            "cron": {"dir": f"{directory}/cron"},
        }
        like = {"network": {"subnet": "10.213.0.0/26", "tasks": "10.213.0.32/27"}, "fleet": {"ports": [21000, 21019]}}
        self.path.write_text(
            json.dumps({"version": 1, "host": {**dirs, **like, **self.world.host}, "services": services})
        )

    def _context(
        self, host: Host, config: Path, command: str, output: Output, cancellation: Cancellation, **options: Any
    ) -> Context:
        world = self.world

        class Waiting(FakeCancellation):
            def wait(self, seconds: float) -> None:
                super().wait(seconds)
                world.follow()

        waiting = Waiting(world.clock)
        edges = Edges(world.objects, self.leases, world.clock, waiting)
        return msgspec.structs.replace(
            world.context(host), cancellation=cancellation, output=output, history=options["history"], command=command,
            store=FleetStore(Path(host.state_dir), world.objects, self.leases),
            locks=FleetLocks(Path(host.runtime_dir) / "locks", command, world.clock, waiting, self.leases, yields=True),
            traffic=FleetTraffic(world.edges[self.name].traffic, edges, lambda: EDGES, world.clock),
        )  # fmt: skip

    def run_pass(self) -> None:
        """Run a pass, and wait for the actions that it begins."""
        self.world.edges[self.name].definitions = self.edge.definitions.digests()
        self.edge._parts.follow_history()
        result: Future[HostObservation] = Future()
        result.set_result(self.edge.observer.observe(runtime_restarted=True))
        self.supervisor._results.take(result)
        self.supervisor._in_progress.finish()


class SupervisedFleet(FleetWorld):
    """Three managers. Those that are `down` neither answer nor make passes. Swarm lists those in `not_ready` as unknown."""

    def __init__(self, directory: Path, services: dict[str, dict[str, Any]], **host: Any) -> None:
        super().__init__(directory, services)
        self.services, self.host = services, host
        self.down: set[str] = set()
        self.not_ready: set[str] = set()
        self.managers = {name: Manager(self, name) for name in EDGES}

    def run_passes(self, seconds: float) -> None:
        """Each manager makes as many passes, a second apart."""
        for _ in range(round(seconds)):
            for name, one in self.managers.items():
                if name not in self.down:
                    one.file.reload(force=False)
                    one.run_pass()
                    one.leases.renew()
            self.silent = set(self.down)
            self.follow()
            self.clock.advance(1.0)

    def actors(self) -> list[str]:
        """The managers whose log has lines about the service."""
        return [name for name, one in self.managers.items() if any(line.startswith("web: ") for line in one.lines)]

    def fail_checks(self, endpoint: str | None, *edges: str) -> None:
        """Let the checks of an endpoint fail on some edges."""
        for name in edges:
            self.edges[name].failing = (endpoint,) if endpoint else ()
        self.follow()

    def endpoint(self, number: int = 0) -> str:
        return self.replicas("web")[number].endpoint or ""


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as made:
        yield Path(made)


def deployed(directory: Path) -> SupervisedFleet:
    """Return a fleet where two replicas of `web` run revision r1 for longer than they may take to start."""
    made = SupervisedFleet(directory, {"web": WEB})
    made.upgrade("r1")
    made.run_passes(2)
    made.clock.advance(120.0)
    made.run_passes(2)
    return made


@pytest.fixture
def fleet(directory: Path) -> SupervisedFleet:
    return deployed(directory)


def serving(fleet: SupervisedFleet) -> list[frozenset[str]]:
    return [fleet.edges[name].traffic.serving("web") for name in EDGES]


def test_at_rest_nobody_writes(fleet: SupervisedFleet) -> None:
    before = fleet.objects.writes
    fleet.run_passes(20)
    assert (fleet.objects.writes, fleet.actors()) == (before, [])


def test_a_replica_that_fails_on_most_edges_is_replaced_by_one_manager(fleet: SupervisedFleet) -> None:
    kept, failing = fleet.replicas("web")
    fleet.fail_checks(failing.endpoint, failing.node, next(name for name in EDGES if name != failing.node))
    fleet.run_passes(1)
    fleet.fail_checks(None, *EDGES)
    replicas = fleet.replicas("web")
    assert kept in replicas
    assert failing.id not in {one.id for one in replicas}
    assert serving(fleet) == [{one.endpoint for one in replicas}] * 3
    assert (len(replicas), len(fleet.actors()), fleet.runtime.lost) == (2, 1, [])


def test_every_manager_has_the_history_of_all(fleet: SupervisedFleet) -> None:
    fleet.runtime.vanish(fleet.replicas("web")[0].id)
    fleet.run_passes(10)
    found = [list(History(fleet.directory / name / "state").entries()) for name in EDGES]
    assert [one.action for one in found[0]] == ["repair"]
    assert found[0] == found[1] == found[2]


def test_the_history_holds_the_latest_entries_for_others(fleet: SupervisedFleet) -> None:
    one = HistoryEntry(at="2026-01-01T00:00:00.000Z", service="web", action="restart", outcome=Outcome.DONE)
    manager = fleet.managers["h1"]
    shared = FleetHistory(fleet.directory / "h1" / "state", manager.leases)
    shared.append(one)  # without the lock of the service
    manager.leases.take("web")
    later = [msgspec.structs.replace(one, at=f"2026-01-01T00:00:{number:02}.000Z") for number in range(1, 26)]
    for entry in later:
        shared.append(entry)
    manager.leases.release("web")
    fleet.run_passes(2)
    assert list(History(fleet.directory / "h1" / "state").entries()) == [one, *later]
    assert list(History(fleet.directory / "h2" / "state").entries()) == later[-SHARED_ENTRIES:]


def test_a_replica_that_fails_on_one_edge_only_stays(fleet: SupervisedFleet) -> None:
    before = fleet.replicas("web")
    fleet.fail_checks(fleet.endpoint(), before[0].node)
    fleet.run_passes(20)
    assert fleet.replicas("web") == before


def test_a_replica_whose_own_node_does_not_see_it_fail_is_left_to_swarm(fleet: SupervisedFleet) -> None:
    """The node may have been lost a moment ago."""
    one = fleet.replicas("web")[0]
    fleet.fail_checks(one.endpoint, *(name for name in EDGES if name != one.node))
    fleet.run_passes(20)
    assert one in fleet.replicas("web")
    assert fleet.actors() == []


def test_a_replica_on_a_node_that_is_not_ready_is_left_to_swarm(fleet: SupervisedFleet) -> None:
    """Until a new leader lists a lost node as down, its edge is asked to confirm a repair, and cannot."""
    one = fleet.replicas("web")[0]
    fleet.fail_checks(one.endpoint, *EDGES)
    fleet.not_ready = {one.node}
    fleet.run_passes(40)
    assert one in fleet.replicas("web")
    assert fleet.actors() == []


def test_what_the_edge_of_a_lost_node_said_does_not_count(fleet: SupervisedFleet) -> None:
    before = fleet.replicas("web")
    lost = next(name for name in EDGES if name != before[0].node)
    fleet.fail_checks(fleet.endpoint(), before[0].node, lost)
    fleet.down = {lost}
    fleet.run_passes(5)
    assert fleet.replicas("web") == before


def test_a_replica_that_has_just_been_restarted_has_time_to_start(fleet: SupervisedFleet) -> None:
    one = fleet.replicas("web")[0]
    fleet.runtime.restarting.add(one.id)
    fleet.fail_checks(one.endpoint, *EDGES)
    fleet.run_passes(20)
    fleet.runtime.restarting.clear()
    fleet.run_passes(20)
    assert one.id in {replica.id for replica in fleet.replicas("web")}
    assert fleet.actors() == []
    fleet.run_passes(60)
    assert one.id not in {replica.id for replica in fleet.replicas("web")}


def test_passes_check_no_endpoint_of_a_route(directory: Path) -> None:
    """Otherwise a new endpoint would count as starting, and lose the requests that it gets already."""
    plain = {**WEB, "nginx": None}
    fleet = SupervisedFleet(directory, {"web": WEB, "plain": plain})
    fleet.upgrade("r1")
    fleet.run_passes(2)
    checked = HealthMonitor.results(fleet.managers["h1"].edge.monitor)
    assert set(checked) == {one.endpoint for one in fleet.replicas("plain")}


def test_a_missing_replica_is_started(fleet: SupervisedFleet) -> None:
    fleet.runtime.vanish(fleet.replicas("web")[0].id)
    fleet.run_passes(3)
    assert serving(fleet) == [{one.endpoint for one in fleet.replicas("web")}] * 3
    assert (fleet.running("web"), len(fleet.actors())) == ({"r1": 2}, 1)


def test_a_healthy_replica_that_no_edge_has_gets_requests(fleet: SupervisedFleet) -> None:
    """A change leaves out a replica that Swarm was restarting."""
    one = fleet.replicas("web")[0]
    fleet.runtime.restarting.add(one.id)
    fleet.perform(actions.maintenance_on("x"))
    fleet.perform(actions.maintenance_off)
    assert one.endpoint not in serving(fleet)[0]
    fleet.runtime.restarting.clear()
    fleet.run_passes(10)
    assert serving(fleet) == [{one.endpoint for one in fleet.replicas("web")}] * 3


@pytest.mark.parametrize("every", [pytest.param(1, marks=pytest.mark.long), 7])
def test_a_change_that_was_killed_at_any_call_is_recovered(every: int, directory: Path) -> None:
    fleet = deployed(directory)
    fleet.calls = 0
    fleet.upgrade("r2")
    found = set()
    for call in range(1, fleet.calls + 1, every):
        shutil.rmtree(directory)
        directory.mkdir()
        fleet = deployed(directory)
        fleet.calls, fleet.die_at = 0, call
        with contextlib.suppress(LockYielded, ConductorError):
            fleet.upgrade("r2")
        fleet.die_at, fleet.dead = None, False
        fleet.run_passes(LEASE_SECONDS + AFTER_WRITE_SECONDS + 5)
        [(revision, count)] = fleet.running("web").items()
        found.add(revision)
        assert count == 2, call
        assert serving(fleet) == [{one.endpoint for one in fleet.replicas("web")}] * 3, call
        store = FleetStore(directory / "reader", fleet.objects, leases(fleet.objects, fleet.clock, "reader"))
        assert (store.in_progress(), store.addresses().reserved, fleet.runtime.lost) == ((), {}, []), call
        assert not store.is_interrupted("web"), call
    assert found == {"r1", "r2"}


def test_the_manager_that_acts_goes_on_until_all_is_well_and_its_delays_are_kept(fleet: SupervisedFleet) -> None:
    """Otherwise three managers would retry three times as often."""
    fleet.runtime.behave("r1", Behaviour(healthy=False))
    fleet.runtime.vanish(fleet.replicas("web")[0].id)
    fleet.run_passes(60)
    [actor] = fleet.actors()
    attempts = sum("repair" in line for line in fleet.managers[actor].lines)
    assert attempts >= 2
    fleet.runtime.behave("r1", Behaviour())
    fleet.run_passes(90)
    assert fleet.running("web") == {"r1": 2}
    assert fleet.actors() == [actor]
    fleet.run_passes(RESET_SECONDS + 5)
    assert not any(one.edge.lease.held for one in fleet.managers.values())


def test_another_manager_acts_when_the_one_that_acted_is_lost(fleet: SupervisedFleet) -> None:
    fleet.runtime.behave("r1", Behaviour(healthy=False))
    fleet.runtime.vanish(fleet.replicas("web")[0].id)
    fleet.run_passes(3)
    [actor] = fleet.actors()
    fleet.managers[actor].leases = leases(fleet.objects, fleet.clock, actor)  # it renews nothing any more
    fleet.down = {actor}
    fleet.without.add(actor)
    fleet.run_passes(20)
    assert len(fleet.actors()) == 2


def test_definitions_that_differ_between_managers_change_nothing(fleet: SupervisedFleet) -> None:
    """Otherwise two managers would correct each other without end."""
    fleet.managers["h1"].define({"web": {**WEB, "count": 3}})
    fleet.managers["h2"].define({})
    fleet.run_passes(30)
    assert (fleet.running("web"), fleet.actors()) == ({"r1": 2}, [])
    for one in fleet.managers.values():
        one.define({"web": {**WEB, "count": 3}})
    fleet.run_passes(5)
    assert (fleet.running("web"), len(fleet.actors())) == ({"r1": 3}, 1)


def test_a_changed_definition_is_applied_once_every_edge_has_it(directory: Path) -> None:
    fleet = SupervisedFleet(directory, {"web": WEB}, supervise={"drift": "apply"})
    fleet.upgrade("r1")
    fleet.run_passes(10)
    before, changed = fleet.replicas("web"), {"web": {**WEB, "env": {"A": "b"}}}
    for name in EDGES[1:]:
        fleet.managers[name].define(changed)
    fleet.run_passes(10)
    assert fleet.replicas("web") == before
    fleet.managers["h1"].define(changed)
    fleet.run_passes(10)
    assert not set(fleet.replicas("web")) & set(before)
    assert (fleet.running("web"), len(fleet.actors())) == ({"r1": 2}, 1)


def test_every_manager_has_the_crontab(directory: Path) -> None:
    cron = {**WEB, "cron": {"generate": ["bin/cron"]}}
    fleet = SupervisedFleet(directory, {"web": cron})
    fleet.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=("* * * * * bin/job",)), kind="task")

    def installed() -> list[bool]:
        return [(directory / name / "cron" / "conductor-web").exists() for name in EDGES]

    fleet.upgrade("r1")
    fleet.run_passes(10)
    assert installed() == [True] * 3
    assert "r1" in (directory / "h3" / "cron" / "conductor-web").read_text()
    fleet.upgrade("r2")
    fleet.run_passes(10)
    assert "r2" in (directory / "h3" / "cron" / "conductor-web").read_text()
    remove(fleet.context(), "web", 0.0)
    fleet.run_passes(10)
    assert installed() == [False] * 3
    fleet.restart()
    fleet.run_passes(10)
    assert installed() == [True] * 3
    fleet.perform(actions.stop(""))
    fleet.run_passes(10)
    assert installed() == [False] * 3
    before = fleet.objects.writes
    fleet.run_passes(20)
    assert fleet.objects.writes == before


def test_a_crontab_stays_while_only_some_managers_define_its_service(directory: Path) -> None:
    cron = {**WEB, "cron": {"generate": ["bin/cron"]}}
    fleet = SupervisedFleet(directory, {"web": cron})
    fleet.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=("* * * * * bin/job",)), kind="task")
    fleet.upgrade("r1")
    fleet.run_passes(10)
    fleet.managers["h1"].define({"other": WEB})
    fleet.run_passes(10)
    assert (directory / "h1" / "cron" / "conductor-web").exists()
