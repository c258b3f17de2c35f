"""`supervise` in a fleet: the edge of this manager. Swarm itself restarts what exits, and what a lost node ran."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from conductor.change.context import Context
from conductor.health.monitor import HealthMonitor, Target
from conductor.plan.replica import CheckResult
from conductor.state.fleet.edges import Edges
from conductor.supervise.actions import InProgress
from conductor.supervise.edge import Edge
from conductor.supervise.edge_routes import EdgeRoutes
from conductor.supervise.ejection import Ejector
from conductor.supervise.log import SupervisorLog
from conductor.traffic.port import Traffic

RETRY_SECONDS = 1.0


class EdgeParts(NamedTuple):
    """The name of this edge, which a manager with a leader knows, its view of the others, and its own traffic layer."""

    name: Callable[[], str]
    edges: Edges
    traffic: Traffic


class EdgeLoop:
    """The threads of an edge: one takes requests, one ejects and waits for no manager, and one for each step in progress."""

    def __init__(self, parts: EdgeParts, context: Context, log: SupervisorLog, ended: threading.Event) -> None:
        self._parts = parts
        self._context = context
        self._log = log
        self._ended = ended
        self._woken = threading.Event()
        self._steps = InProgress(lambda: None)
        self._routes = EdgeRoutes(parts.traffic, Path(context.host.state_dir))
        self._monitor = HealthMonitor(self._check, self._woken.set, context.clock.monotonic)
        self._ejector = Ejector(
            traffic=parts.traffic, routes=self._routes, clock=context.clock, log=log, watch=self._monitor.watch,
            condition=self._monitor.condition, replicas=lambda: context.runtime.containers().replicas,
        )  # fmt: skip

    def _check(self, target: Target) -> CheckResult:
        try:
            return self._context.health.check(target.replica, target.health, target.redact)
        except Exception as error:  # noqa: BLE001 (a bug in a check shows nothing about the replica)
            self._log.failed(f"health of {target.replica.service}", error)
            return CheckResult(ok=False, seconds=0.0, unknown=True)

    def begin(self) -> None:
        """Start the threads, which end with the process."""
        for work in (self._follow, lambda: self._ejector.run(self._ended, self._woken)):
            threading.Thread(target=work, daemon=True).start()

    def _follow(self) -> None:
        """Take requests, once a manager has told the name of this edge."""
        while not self._ended.is_set():
            try:
                edge = Edge(
                    self._parts.name(), edges=self._parts.edges, traffic=self._parts.traffic, routes=self._routes,
                    health=self._context.health, clock=self._context.clock, log=self._log, submit=self._submit,
                    locate=self._ejector.locate,
                )  # fmt: skip
            except Exception as error:  # noqa: BLE001 (there is no leader now)
                self._log.failed("edge", error)
                self._ended.wait(RETRY_SECONDS)
            else:
                self._log.recovered("edge")
                edge.run(self._ended)

    def _submit(self, name: str, work: Callable[[], None]) -> None:
        self._steps.forget_finished()
        self._steps.submit(name, work)
