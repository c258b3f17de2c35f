"""Changes of a service through three edges, in many orders: messages that are lost, late or repeated, and processes that end.

A change here has a journal, a cutover, a commit, a drain and the end of the old replicas, which no edge may know any more then.
"""

import contextlib
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conductor.definitions.load import restore
from conductor.errors import ConductorError
from conductor.plan.edges import SharedRoute
from conductor.plan.lease import RENEWAL_SECONDS, LeaseLostError, Values
from conductor.plan.route import Cutover, Route
from conductor.runtime.port import RuntimeUnavailable
from conductor.state.fleet.edges import Edges
from conductor.state.fleet.leases import Leases
from conductor.state.fleet.locks import FleetLocks
from conductor.state.fleet.objects import StoredObject
from conductor.traffic.fleet.traffic import FleetTraffic
from tests.fakes.fleet import EDGES, FakeEdge, leases
from tests.fakes.objects import FakeObjects
from tests.fakes.traffic import FakeTraffic, Record, State
from tests.fakes.turns import Turns, clock
from tests.unit.state.fleet.test_races import Waiting

SEEDS = range(int(os.environ.get("CONDUCTOR_RACES", "6")))
DEFINITION = restore("web", {"image": "app", "port": 80, "nginx": {}})
DRAIN_SECONDS = 5.0


class Restarted(BaseException):
    """SIGKILL of the process of an edge, which systemd starts again."""


class Lossy(FakeObjects):
    """The objects as a process sees them whose requests, or their answers, may be lost. `fate` decides about each call."""

    def __init__(self, turn: Callable[[], None], fate: Callable[[], None]) -> None:
        super().__init__(turn)
        self._fate = fate

    def read(self, name: str) -> StoredObject | None:
        self._fate()
        return super().read(name)

    def read_all(self) -> tuple[StoredObject, ...]:
        self._fate()
        return super().read_all()

    def create(self, name: str, values: Values) -> bool:
        self._fate()
        created = super().create(name, values)
        self._fate()
        return created

    def write(self, found: StoredObject, values: Values) -> bool:
        self._fate()
        written = super().write(found, values)
        self._fate()
        return written


class Nginx(FakeTraffic):
    """The traffic layer of one edge. It outlives the process that changes it."""

    def __init__(self, fleet: "Fleet") -> None:
        super().__init__()
        self._fleet = fleet

    def _begin(self, method: str, routes: Collection[Route] = ()) -> tuple[BaseException | None, str]:
        self._fleet.during()
        return super()._begin(method, routes)

    def _change(
        self, method: str, to: Mapping[str, State | None], record: Record, former: dict[str, object] | None
    ) -> None:
        def record_slowly(cutover: Cutover) -> None:
            self._fleet.during()
            record(cutover)
            self._fleet.during()

        super()._change(method, to, record_slowly, former)
        served = {endpoint for state in to.values() if state for endpoint in state.endpoints}
        assert served.isdisjoint(self._fleet.retired), "requests go to a replica that was removed"


class Journal(msgspec.Struct, frozen=True):
    """A change in progress."""

    old: tuple[str, ...]
    new: tuple[str, ...]
    cutover: Cutover | None = None
    committed: bool = False


class Fleet:
    """Three edges, and deployers whose changes they make. `loss` and `restarts` are probabilities of each call."""

    def __init__(self, seed: int, directory: Path, *, loss: float = 0.0, restarts: float = 0.0) -> None:
        self.turns = Turns(seed)
        self.loss, self.restarts = loss, restarts
        self.objects = Lossy(self.turns.turn, self.during_call)
        self.directory = directory
        self.retired: set[str] = set()
        self.running: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.errors: list[ConductorError] = []
        self.without: set[str] = set()
        self.deployers = 0
        self.edges = {
            name: FakeEdge(name, self.objects, clock(self.turns), directory, Nginx(self)) for name in EDGES
        }  # fmt: skip
        for name in EDGES:
            self.turns.add(name, lambda name=name: self.edge(name), background=True)  # type: ignore[misc]

    def during(self) -> None:
        """Another process may have its turn in a call of a traffic layer, and this one may end."""
        self.turns.turn()
        if self.turns.process() in EDGES and self.turns.random.random() < self.restarts:
            raise Restarted

    def during_call(self) -> None:
        """As `during`, and the request or its answer may be lost."""
        if self.turns.process() in EDGES and self.turns.random.random() < self.restarts:
            raise Restarted
        if self.turns.random.random() < (self.loss if self.turns.process() in EDGES else self.loss / 10):
            raise RuntimeUnavailable("cannot read: the test lost this message")

    def edge(self, name: str) -> None:
        while True:
            try:
                self.turns.turn(self.turns.random.uniform(0.1, 1.0))
                self.edges[name].process.follow()
            except Restarted:
                self.counts["restarts"] += 1
                self.turns.turn(self.turns.random.uniform(0.0, 3.0))
                self.edges[name].start()
            except ConductorError:
                self.counts["lost messages"] += 1

    def deploy(self, node: str, changes: int, *, wait_seconds: float = 1000.0) -> None:
        """Add a deployer on a node."""
        self.deployers += 1
        process = f"deployer {self.deployers} on {node}"
        deployer = Deployer(self, node, process)

        def work() -> None:
            for number in range(changes):
                deployer.upgrade(f"10.0.{process.split()[1]}.{number}", wait_seconds)
            self.counts["ended"] += 1

        self.turns.add(process, work)
        self.turns.add(process, deployer.renew, background=True)

    def then(self, check: Callable[[], None]) -> None:
        """Add what happens once all deployers have ended or were killed, and what they left was recovered."""
        deployer = Deployer(self, "h3", "operator")

        def work() -> None:
            while any(one.startswith("deployer") for one, background in self.turns._threads.values() if not background):
                self.turns.turn(1.0)
            self.loss = self.restarts = 0.0
            deployer.recover_all()
            self.turns.turn(2.0)
            check()

        self.turns.add("operator", work)
        self.turns.add("operator", deployer.renew, background=True)

    def assert_right(self, *, without: Collection[str] = ()) -> None:
        """Every edge serves what is wanted, nothing else runs, and no journal is left."""
        values = self.values
        wanted = set(msgspec.json.decode(values.get("wanted", "[]")))
        assert "journal" not in values
        assert self.running == wanted
        for name, edge in self.edges.items():
            if name not in without:
                assert edge.traffic.serving("web") == wanted, name
                assert edge.traffic.known() == wanted, name

    @property
    def values(self) -> dict[str, str]:
        return dict(self.objects._objects["web"].values)


class Deployer:
    """One process that makes changes on a manager."""

    def __init__(self, fleet: Fleet, node: str, process: str) -> None:
        self.fleet = fleet
        self.process = process
        now, waiting = clock(fleet.turns), Waiting(fleet.turns)
        self.leases: Leases = leases(fleet.objects, now, node)
        self.locks = FleetLocks(fleet.directory, "upgrade", now, waiting, self.leases)
        edges = Edges(fleet.objects, self.leases, now, waiting)
        self.traffic = FleetTraffic(
            fleet.edges[node].traffic, edges, lambda: [one for one in EDGES if one not in fleet.without], now
        )

    def renew(self) -> None:
        while True:
            self.fleet.turns.turn(RENEWAL_SECONDS)
            self.leases.renew()

    def upgrade(self, ip: str, wait_seconds: float) -> None:
        """Make a change, and count how it ended."""
        try:
            with self.locks.hold("web", wait_seconds):
                self.recover()
                self.change((f"{ip}:80", f"{ip}:81"))
                self.fleet.counts["done"] += 1
        except LeaseLostError:
            self.fleet.counts["lease lost"] += 1
        except ConductorError as error:
            self.fleet.errors.append(error)

    def change(self, new: tuple[str, ...]) -> None:
        old = tuple(msgspec.json.decode(self.leases.values("web").get("wanted", "[]")))
        self.write(Journal(old, new))
        self.fleet.running.update(new)
        try:
            self.traffic.check([Route(DEFINITION, ())])
            self.traffic.switch([Route(DEFINITION, new)], self.record)
            self.traffic.known()
        except LeaseLostError:
            raise
        except ConductorError:
            self.roll_back(self.journal())
            raise
        journal = msgspec.structs.replace(self.journal(), committed=True)
        self.leases.write("web", {"wanted": msgspec.json.encode(new).decode(), "journal": _text(journal)})
        self.finish(journal)

    def recover_all(self) -> None:
        done = False
        while not done:
            with contextlib.suppress(RuntimeUnavailable), self.locks.hold("web", 1000.0):
                self.recover()
                done = True

    def recover(self) -> None:
        if "journal" in self.leases.values("web"):
            self.fleet.counts["recovered"] += 1
            journal = self.journal()
            self.finish(journal) if journal.committed else self.roll_back(journal)

    def finish(self, journal: Journal) -> None:
        assert journal.cutover is not None
        self.traffic.switch([Route(DEFINITION, journal.new)], self.record)
        self.end(journal.cutover, journal.old)

    def roll_back(self, journal: Journal) -> None:
        if journal.cutover is not None:
            self.traffic.undo(journal.cutover, ["web"], self.record)
        self.end(journal.cutover, journal.new)

    def end(self, cutover: Cutover | None, leaving: tuple[str, ...]) -> None:
        if cutover is not None:
            self.traffic.drain(cutover, leaving, DRAIN_SECONDS, lambda _: None)
        for name, edge in self.fleet.edges.items():
            assert name in self.fleet.without or edge.traffic.known().isdisjoint(leaving), f"{name} knows {leaving}"
        self.fleet.retired.update(leaving)
        self.fleet.running.difference_update(leaving)
        self.leases.write("web", {"journal": ""})

    def record(self, cutover: Cutover) -> None:
        self.write(msgspec.structs.replace(self.journal(), cutover=cutover))

    def journal(self) -> Journal:
        return msgspec.json.decode(self.leases.values("web")["journal"], type=Journal)

    def write(self, journal: Journal) -> None:
        self.leases.write("web", {"journal": _text(journal)})


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as made:
        yield Path(made)


@pytest.mark.parametrize("seed", SEEDS)
def test_two_deployers(seed: int, directory: Path) -> None:
    fleet = Fleet(seed, directory)
    for node in EDGES[:2]:
        fleet.deploy(node, 3)
    fleet.then(fleet.assert_right)
    fleet.turns.run()
    assert (fleet.counts["done"], fleet.counts["recovered"], fleet.errors) == (6, 0, [])


@pytest.mark.parametrize("seed", SEEDS)
def test_lost_messages(seed: int, directory: Path) -> None:
    fleet = Fleet(seed, directory, loss=0.2)
    for node in EDGES[:2]:
        fleet.deploy(node, 3)
    fleet.then(fleet.assert_right)
    fleet.turns.run()
    assert fleet.counts["lost messages"]


@pytest.mark.parametrize("seed", SEEDS)
def test_edges_that_restart_at_any_call(seed: int, directory: Path) -> None:
    fleet = Fleet(seed, directory, restarts=0.05)
    fleet.deploy("h1", 4)
    fleet.then(fleet.assert_right)
    fleet.turns.run()
    assert (fleet.counts["done"], fleet.errors) == (4, [])
    assert fleet.counts["restarts"]


@pytest.mark.parametrize("seed", SEEDS)
def test_an_edge_that_is_stopped_for_ten_seconds(seed: int, directory: Path) -> None:
    fleet = Fleet(seed, directory)
    fleet.deploy("h1", 2)
    at = fleet.turns.random.uniform(0.0, 8.0)

    def stop() -> None:
        fleet.turns.turn(at)
        fleet.turns.frozen["h2"] = fleet.turns.now + 10.0

    fleet.turns.add("operator stops", stop)
    fleet.then(fleet.assert_right)
    fleet.turns.run()
    assert (fleet.counts["done"], fleet.errors) == (2, [])


@pytest.mark.parametrize("seed", SEEDS)
def test_deployers_that_are_killed_or_frozen(seed: int, directory: Path) -> None:
    fleet = Fleet(seed, directory, loss=0.05, restarts=0.01)
    for node in EDGES[:2]:
        fleet.deploy(node, 3)

    def kill() -> None:
        fleet.turns.turn(fleet.turns.random.uniform(0.0, 20.0))
        fleet.turns.killed.add("deployer 1 on h1")
        fleet.turns.turn(fleet.turns.random.uniform(0.0, 10.0))
        fleet.turns.frozen["deployer 2 on h2"] = fleet.turns.now + fleet.turns.random.uniform(3.0, 15.0)

    fleet.turns.add("operator kills", kill)
    fleet.then(fleet.assert_right)
    fleet.turns.run()


@pytest.mark.parametrize("seed", SEEDS)
def test_an_edge_that_is_gone_is_named_and_right_once_it_is_back(seed: int, directory: Path) -> None:
    fleet = Fleet(seed, directory)
    fleet.deploy("h1", 2)
    at = fleet.turns.random.uniform(0.0, 12.0)

    def gone() -> None:
        fleet.turns.turn(at)
        fleet.turns.frozen["h2"] = 10_000.0

    def without() -> None:
        served = fleet.edges["h2"].traffic.serving("web")
        fleet.assert_right(without=["h2"])
        wanted = set(msgspec.json.decode(fleet.values["wanted"]))
        assert fleet.edges["h2"].traffic.known() - wanted <= operator.traffic.known()
        fleet.turns.frozen.clear()
        fleet.turns.turn(2.0)
        assert fleet.edges["h2"].traffic.serving("web") == wanted, served

    operator = Deployer(fleet, "h3", "operator")
    fleet.turns.add("operator ends", gone)

    def go_on() -> None:
        while fleet.counts["ended"] < 1:
            fleet.turns.turn(1.0)
        for error in fleet.errors:
            assert "h2" in error.sentence, error.sentence
            assert "--without-edge h2" in error.hint
        fleet.without.add("h2")
        operator.upgrade("10.9.9.9", 1000.0)
        assert fleet.counts["done"] + len(fleet.errors) == 3
        without()

    fleet.turns.add("operator", go_on)
    fleet.turns.add("operator", operator.renew, background=True)
    fleet.turns.run()


@pytest.mark.parametrize("seed", SEEDS)
def test_an_endpoint_that_one_edge_cannot_reach_changes_nothing(seed: int, directory: Path) -> None:
    fleet = Fleet(seed, directory)
    fleet.deploy("h1", 3)
    fleet.edges["h3"].health.unhealthy.add("10.0.1.1:81")
    fleet.then(fleet.assert_right)
    fleet.turns.run()
    [error] = fleet.errors
    assert (error.sentence, fleet.counts["done"]) == ("cannot check the new replicas of web: edge h3 failed", 2)
    assert "web at 10.0.1.1:81 fails its check from this edge" in error.details[0]
    assert all("undo" not in edge.traffic.calls for edge in fleet.edges.values())


def test_one_of_two_deployers_that_do_not_wait_names_the_other(directory: Path) -> None:
    fleet = Fleet(1, directory)
    for node in EDGES[:2]:
        fleet.deploy(node, 1, wait_seconds=0.0)
    fleet.then(fleet.assert_right)
    fleet.turns.run()
    [error] = fleet.errors
    assert (error.exit_code, fleet.counts["done"]) == (5, 1)
    assert " on h" in error.sentence


def test_what_is_shared_of_a_route() -> None:
    shared = SharedRoute(definition=DEFINITION.written, endpoints=("10.0.0.1:80",), template="text")
    assert shared.restored("web") == Route(DEFINITION, ("10.0.0.1:80",), "text")
