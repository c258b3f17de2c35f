"""The edges of a fleet in memory: each has a traffic layer of its own, which its process may leave behind and find again."""

import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import msgspec

from conductor.change.context import Context
from conductor.clock import Clock
from conductor.definitions.host import Host
from conductor.errors import LockYielded
from conductor.plan import labels
from conductor.plan.edges import EdgeView, RouteStep
from conductor.plan.lease import Lease
from conductor.plan.replica import Containers, ContainerState
from conductor.runtime.port import RuntimeUnavailable
from conductor.state.fleet.edges import Edges
from conductor.state.fleet.leases import Leases
from conductor.state.fleet.locks import FleetLocks
from conductor.state.fleet.objects import Objects
from conductor.state.fleet.store import FleetStore
from conductor.supervise.edge import Edge
from conductor.supervise.edge_routes import EdgeRoutes
from conductor.supervise.log import SupervisorLog
from conductor.traffic.fleet.traffic import FleetTraffic
from conductor.traffic.port import Traffic
from tests.fakes.objects import FakeObjects
from tests.fakes.runtime import FakeCancellation, FakeClock, FakeHealth
from tests.fakes.traffic import FakeTraffic
from tests.fakes.world import WatchedRuntime, World

EDGES = ("h1", "h2", "h3")


def leases(objects: Objects, clock: Clock, node: str) -> Leases:
    """Return the leases of a process, which a test renews."""
    like = Lease(token="", node=node, pid=1, command="upgrade", since="")
    return Leases(objects, clock, like, in_background=False)


class FakeEdge:
    """One edge. `start` begins another process of `supervise`; `log` has the lines of all of them."""

    def __init__(self, name: str, objects: Objects, clock: Clock, directory: Path, traffic: Traffic) -> None:
        self.name = name
        self.traffic = traffic
        self.health = FakeHealth(FakeClock())
        self.log: list[str] = []
        self.failing: tuple[str, ...] = ()
        self.definitions: dict[str, str] = {}
        self._objects = objects
        self._clock = clock
        self._directory = directory / name
        self.start()

    def start(self) -> None:
        """Begin another process. What it does in threads is done before `follow` returns."""
        self.routes = EdgeRoutes(self.traffic, self._directory)
        own = leases(self._objects, self._clock, self.name)
        self.process = Edge(
            self.name, edges=Edges(self._objects, own, self._clock, FakeCancellation()), traffic=self.traffic,
            routes=self.routes, health=self.health, clock=self._clock, log=SupervisorLog(self.log.append),
            submit=lambda _name, work: work(), view=self._view,
        )  # fmt: skip

    def _view(self) -> EdgeView:
        known = tuple(sorted(self.traffic.known()))
        return EdgeView(known=known, failing=self.failing, definitions=self.definitions)


class Following(FakeCancellation):
    """Lets the edges answer while a command waits for them. With `restarts`, each of them does so in a new process."""

    def __init__(self, clock: FakeClock, edges: list[FakeEdge], *, restarts: bool = False) -> None:
        super().__init__(clock)
        self._edges = edges
        self._restarts = restarts

    def wait(self, seconds: float) -> None:
        super().wait(seconds)
        for edge in self._edges:
            if self._restarts:
                edge.start()
            edge.process.follow()


def fleet_traffic(
    traffics: list[Traffic], services: Collection[str], directory: Path, *, restarts: bool
) -> FleetTraffic:
    """Return the traffic layer of a fleet whose edges have these traffic layers, for a command on the first that has the locks."""
    objects, clock = FakeObjects(), FakeClock()
    names = EDGES[: len(traffics)]
    edges = [FakeEdge(name, objects, clock, directory, one) for name, one in zip(names, traffics, strict=True)]
    own = leases(objects, clock, "h1")
    for service in services:
        own.take(service)
    stored = Edges(objects, own, clock, Following(clock, edges, restarts=restarts))
    return FleetTraffic(traffics[0], stored, lambda: names, clock)


class NodesRuntime(WatchedRuntime):
    """Replicas run on nodes, in turn, at a port of theirs. Those in `restarting` have exited, and Swarm will start them again."""

    def __init__(self, clock: FakeClock, traffic: FakeTraffic) -> None:
        super().__init__(clock, traffic)
        self.restarting: set[str] = set()

    def containers(self, service: str | None = None) -> Containers:
        return self._placed(super().containers(service))

    def snapshot(self) -> Containers:
        return self._placed(super().snapshot())

    def inspect(self, container: str) -> ContainerState | None:
        state = super().inspect(container)
        address = self.spec(container).labels[labels.ADDRESS] if state else ""
        return msgspec.structs.replace(state, address=self._address(container, address)) if state else None

    def _placed(self, found: Containers) -> Containers:
        return found._replace(
            replicas=tuple(
                msgspec.structs.replace(one, state="restarting")
                if one.running and one.id in self.restarting
                else msgspec.structs.replace(one, address=self._address(one.id, one.address), node=node_of(one.id))
                if one.running
                else one
                for one in found.replicas
            )
        )

    @staticmethod
    def _address(container: str, address: str) -> str:
        return f"10.9.0.{node_of(container)[1:]}{address}" if address.startswith(":") else address


def node_of(container: str) -> str:
    """Return the node that runs a replica."""
    return EDGES[zlib.crc32(container.encode()) % 3]


class EveryEdge(FakeTraffic):
    """What any edge knows, but for those that carry no traffic by the operator's word."""

    def __init__(self, edges: dict[str, FakeTraffic], without: set[str]) -> None:
        super().__init__()
        self._edges = edges
        self._without = without

    def known(self) -> frozenset[str]:
        used = [edge for name, edge in self._edges.items() if name not in self._without]
        return frozenset(endpoint for edge in used for endpoint in edge.known())


class FleetWorld(World):
    """Three managers, each with an edge. Each call of a command is another process, on `node`; once `dead`, it changes nothing.

    Edges that are `silent` do not answer, nor does one from the step in `silent_from` on; a command does not ask those that it is
    told to go on `without`.
    """

    def __init__(self, directory: Path, services: dict[str, dict[str, Any]]) -> None:
        super().__init__(directory, services)
        self.node = "h1"
        self.objects = FakeObjects(self._turn)
        self.dead = self._following = False
        self.calls = 0
        self.die_at: int | None = None
        self.silent: set[str] = set()
        self.silent_from: dict[str, RouteStep] = {}
        self.without: set[str] = set()
        traffics = {name: FakeTraffic() for name in EDGES}
        self.runtime = NodesRuntime(self.clock, EveryEdge(traffics, self.without))
        self.health = FakeHealth(self.clock, self.runtime)
        for revision in ("r1", "r2", "r3"):
            self.runtime.add_image(f"shop:{revision}")
        self.edges = {
            name: FakeEdge(name, self.objects, self.clock, directory, one) for name, one in traffics.items()
        }  # fmt: skip

    def define(self, services: dict[str, dict[str, Any]], **more: Any) -> None:
        super().define(services, fleet={"ports": [21000, 21019]}, **more)

    def _turn(self) -> None:
        """Count a call of a command. After its last one, the process makes none."""
        if self._following:
            return
        if self.dead:
            raise RuntimeUnavailable("cannot read: this process was killed")
        self.calls += 1
        if self.calls == self.die_at:
            self.dead = True
            raise LockYielded

    def follow(self) -> None:
        """Let every edge answer."""
        self._following = True
        requests = (
            Edges(self.objects, leases(self.objects, self.clock, ""), self.clock, self.cancellation).see("").requests
        )
        steps = {one.step for one in requests.values()}
        self.silent |= {name for name, step in self.silent_from.items() if step in steps}
        for name, edge in self.edges.items():
            if name not in self.silent:
                edge.process.follow()
        self._following = False

    def context(self, host: Host | None = None) -> Context:
        context = super().context(host)
        self.dead, world = False, self
        own = leases(self.objects, self.clock, self.node)

        class Waiting(FakeCancellation):
            def wait(self, seconds: float) -> None:
                super().wait(seconds)
                world.follow()

        self.cancellation = waiting = Waiting(self.clock, stop_at=self.cancellation.stop_at)
        local = self.edges[self.node].traffic
        self.store = FleetStore(self.directory / self.node / "state", self.objects, own)
        return msgspec.structs.replace(
            context, cancellation=waiting, store=self.store, locks=FleetLocks(
                self.directory / self.node / "locks", "test", self.clock, waiting, own
            ), traffic=FleetTraffic(
                local, Edges(self.objects, own, self.clock, waiting), lambda: sorted(set(EDGES) - self.without), self.clock
            ),
        )  # fmt: skip
