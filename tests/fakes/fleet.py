"""The edges of a fleet in memory: each has a traffic layer of its own, which its process may leave behind and find again."""

from collections.abc import Collection
from pathlib import Path

from conductor.clock import Clock
from conductor.plan.lease import Lease
from conductor.state.fleet.edges import Edges
from conductor.state.fleet.leases import Leases
from conductor.state.fleet.objects import Objects
from conductor.supervise.edge import Edge
from conductor.supervise.edge_routes import EdgeRoutes
from conductor.supervise.log import SupervisorLog
from conductor.traffic.fleet.traffic import FleetTraffic
from conductor.traffic.port import Traffic
from tests.fakes.objects import FakeObjects
from tests.fakes.runtime import FakeCancellation, FakeClock, FakeHealth

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
            submit=lambda _name, work: work(),
        )  # fmt: skip


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
