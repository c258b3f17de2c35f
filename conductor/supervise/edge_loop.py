"""`supervise` in a fleet: the edge of this manager, and what its passes share with the other managers."""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec

from conductor.change.context import Context
from conductor.definitions.load import Definitions
from conductor.health.connections import INTERVAL_SECONDS, Connections
from conductor.health.monitor import Target
from conductor.plan.edges import EdgeView
from conductor.plan.replica import CheckResult
from conductor.state.fleet.edges import Edges
from conductor.state.fleet.leases import Leases
from conductor.state.fleet.store import FleetStore
from conductor.supervise.actions import InProgress
from conductor.supervise.edge import Edge
from conductor.supervise.edge_routes import EdgeRoutes
from conductor.supervise.ejection import Ejector
from conductor.supervise.fleet_monitor import FleetMonitor
from conductor.supervise.fleet_observe import AgreedDefinitions, FleetObserver
from conductor.supervise.log import SupervisorLog
from conductor.supervise.runtime_events import follow
from conductor.supervise.supervision_lease import SupervisionLease
from conductor.traffic.port import Traffic

RETRY_SECONDS = 1.0


class EdgeParts(NamedTuple):
    """The name of this edge, which a manager with a leader knows, its view of the others, and its own traffic layer.

    `store` and `edges` read what was true a moment ago, until `expire` is called; `views` returns those of the edges that are
    not lost, and the nodes that are not ready. `follow_history` copies what other managers have recorded. `writes` yields whenever a
    manager may have made a request.
    """

    name: Callable[[], str]
    edges: Edges
    traffic: Traffic
    leases: Leases
    store: FleetStore
    expire: Callable[[], None]
    views: Callable[[], tuple[Mapping[str, EdgeView], Collection[str]]]
    follow_history: Callable[[], None]
    writes: Callable[[], Iterator[None]]


class EdgeLoop:
    """The threads of an edge: one takes requests, one connects to the nodes, one ejects and waits for no manager, and one
    for each step in progress.

    `own` returns the definitions of this manager.
    """

    def __init__(
        self,
        parts: EdgeParts,
        context: Context,
        log: SupervisorLog,
        ended: threading.Event,
        own: Callable[[], Definitions],
    ) -> None:
        self._parts = parts
        self._context = context
        self._log = log
        self._ended = ended
        self._woken = threading.Event()
        self._written = threading.Event()
        self._steps = InProgress(lambda: None)
        self._routes = EdgeRoutes(parts.traffic, Path(context.host.state_dir))
        self._name = ""
        self.store = parts.store
        self.lease = SupervisionLease(parts.leases)
        self.definitions = AgreedDefinitions(own)
        self.monitor = FleetMonitor(self._check, self._woken.set, context.clock.monotonic)
        self._connections = Connections(self._woken.set)
        passes = msgspec.structs.replace(context, store=parts.store)
        self.observer = FleetObserver(self.monitor, passes, self.definitions, parts.edges, parts.views)
        self._ejector = Ejector(
            traffic=parts.traffic, routes=self._routes, clock=context.clock, log=log, watch=self._watch,
            condition=self.monitor.condition_here, unconnected=self._connections.failing, replicas=lambda: context.runtime.containers().replicas,
        )  # fmt: skip

    def _watch(self, targets: Iterable[Target]) -> None:
        """A lost node is noticed by a connection each second, long before the health checks of its replicas have failed."""
        routed = tuple(targets)
        self.monitor.watch_routes(routed)
        self._connections.watch([one.replica.address for one in routed])

    def _connect(self) -> None:
        while not self._ended.wait(INTERVAL_SECONDS):
            try:
                self._connections.look()
            except Exception as error:  # noqa: BLE001 (a bug must not end the loop)
                self._log.failed("connections", error)
            else:
                self._log.recovered("connections")

    def _check(self, target: Target) -> CheckResult:
        try:
            return self._context.health.check(target.replica, target.health, target.redact)
        except Exception as error:  # noqa: BLE001 (a bug in a check shows nothing about the replica)
            self._log.failed(f"health of {target.replica.service}", error)
            return CheckResult(ok=False, seconds=0.0, unknown=True)

    @property
    def notifies(self) -> bool:
        """True on one manager: otherwise each would send the same notification."""
        return self._name == min(self.observer.views, default=self._name)

    def at_rest(self) -> None:
        """Let another manager act next. Nothing waits for that."""
        if self.lease.held:
            threading.Thread(target=self.lease.release, daemon=True).start()

    def begin(self) -> None:
        """Start the threads, which end with the process."""
        eject = partial(self._ejector.run, self._ended, self._woken)
        for work in (self._follow, eject, self._connect):
            threading.Thread(target=work, daemon=True).start()
        written = self._written.set
        follow(self._parts.writes, lambda _: written(), written, self._ended, self._context.clock.monotonic)

    def _follow(self) -> None:
        """Take requests, once a manager has told the name of this edge."""
        while not self._ended.is_set():
            try:
                self._name = self._parts.name()
            except Exception as error:  # noqa: BLE001 (there is no leader now)
                self._log.failed("edge", error)
                self._ended.wait(RETRY_SECONDS)
            else:
                self._log.recovered("edge")
                edge = Edge(
                    self._name, edges=self._parts.edges, traffic=self._parts.traffic, routes=self._routes,
                    health=self._context.health, clock=self._context.clock, log=self._log, submit=self._submit,
                    view=self._view, expire=self._parts.expire, then=self._then,
                )  # fmt: skip
                edge.run(self._ended, self._written)

    def _view(self) -> EdgeView:
        return EdgeView(
            known=tuple(sorted(self._parts.traffic.known())),
            failing=tuple(sorted(self.monitor.failing() | self._connections.failing())),
            definitions=self.definitions.digests(),
        )

    def _then(self) -> None:
        self._ejector.locate()
        self.observer.refresh_stamp()
        self._parts.follow_history()

    def _submit(self, name: str, work: Callable[[], None]) -> None:
        self._steps.forget_finished()
        self._steps.submit(name, work)
