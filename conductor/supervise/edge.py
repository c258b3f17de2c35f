"""The edge of a fleet on this manager: makes the steps that commands request with its own traffic layer, and confirms them.

It is level-triggered: each request names the route that has to be in force, so it does not matter which ones were missed.
"""

import threading
from collections.abc import Callable, Collection, Mapping

import msgspec

from conductor.clock import Clock
from conductor.definitions.environment import redaction
from conductor.definitions.model import Health
from conductor.errors import ConductorError
from conductor.health.check import HealthChecker
from conductor.health.fitness import unfit
from conductor.plan.edges import EdgeView, RouteAnswer, RouteRequest
from conductor.plan.replica import Replica
from conductor.plan.route import Route
from conductor.state.fleet.edges import Edges
from conductor.supervise.edge_routes import EdgeRoutes
from conductor.supervise.log import SupervisorLog
from conductor.traffic.port import Draining, Traffic, TrafficUnavailable

FOLLOW_SECONDS = 1.0  # at most, between two reads
GATE_SECONDS = 5.0  # from the first check of an endpoint here, which another manager has found healthy
AGAIN_SECONDS = 0.5
REACHABLE = Health(tcp=True)


class Edge:
    """Answers the requests to edge `name`. `submit` runs the work that it is given, with its name, in a thread of its own. `view` is
    what this edge says of itself. `expire` is called before each read of all objects, and `then` after it."""

    def __init__(
        self,
        name: str,
        *,
        edges: Edges,
        traffic: Traffic,
        routes: EdgeRoutes,
        health: HealthChecker,
        clock: Clock,
        log: SupervisorLog,
        submit: Callable[[str, Callable[[], None]], None],
        view: Callable[[], EdgeView] | None = None,
        expire: Callable[[], None] = lambda: None,
        then: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._edges = edges
        self._traffic = traffic
        self._routes = routes
        self._health = health
        self._clock = clock
        self._log = log
        self._submit = submit
        self._view = view or (lambda: EdgeView(known=tuple(sorted(traffic.known()))))
        self._expire = expire
        self._then = then
        self._latest: dict[str, str] = {}  # the id of the latest request, by service
        self._busy: set[str] = set()  # services

    def run(self, ended: threading.Event, written: threading.Event) -> None:
        """Answer requests until `ended`, at once when something was `written`. Nothing else that an edge does waits for this
        thread: a manager may be silent for long."""
        while not ended.is_set():
            try:
                self.follow()
                self._then()
            except Exception as error:  # noqa: BLE001 (a bug or a fleet without a leader must not end the loop)
                self._log.failed(f"edge {self._name}", error)
            else:
                self._log.recovered(f"edge {self._name}")
            written.wait(FOLLOW_SECONDS)
            written.clear()

    def follow(self) -> None:
        """Begin what is requested and not answered. A service whose step is in progress is left alone until that has ended."""
        self._expire()
        seen = self._edges.see(self._name)
        self._latest = {service: one.id for service, one in seen.requests.items()}
        waiting: dict[str, dict[str, RouteRequest]] = {}
        for service, one in seen.requests.items():
            if service not in self._busy and (service not in seen.answers or seen.answers[service].id != one.id):
                waiting.setdefault(one.id, {})[service] = one
        for requests in waiting.values():
            self._busy.update(requests)
            self._submit(f"edge {', '.join(requests)}", lambda requests=requests: self._answer(requests))  # type: ignore[misc]
        if not waiting and not self._busy and (view := self._view()) != seen.view:
            self._edges.confirm(self._name, {}, view)

    def _answer(self, requests: Mapping[str, RouteRequest]) -> None:
        try:
            request = next(iter(requests.values()))
            try:
                answer = self._make(request, requests)
            except ConductorError as error:
                answer = RouteAnswer(
                    id=request.id, error=error.sentence, details=error.details,
                    unavailable=isinstance(error, TrafficUnavailable),
                )  # fmt: skip
            once = msgspec.structs.replace(answer, cut=0, silent=0)
            first, *others = requests
            self._edges.confirm(self._name, {first: answer, **dict.fromkeys(others, once)}, self._view())
        except Exception as error:  # noqa: BLE001 (the request stays unanswered, and is made again)
            self._log.failed(f"edge {self._name}", error)
        finally:
            self._busy.difference_update(requests)

    def _make(self, request: RouteRequest, requests: Mapping[str, RouteRequest]) -> RouteAnswer:
        """Make one step of all these services."""
        if request.step == "undo":
            self._routes.undo(requests)
        unreached = self._routes.put(requests)
        wanted = [one.wanted.restored(service) for service, one in requests.items() if one.wanted]
        match request.step:
            case "check":
                return RouteAnswer(id=request.id, warnings=self._traffic.check(wanted))
            case "gate":
                self._traffic.check(wanted)
                for route in wanted:
                    self._gate(route, request.endpoints)
            case "drain":
                return self._drain(request, requests)
        return RouteAnswer(id=request.id, unreached=unreached)

    def _gate(self, route: Route, endpoints: Collection[str]) -> None:
        """Wait until each of `endpoints` that the route has answers on the path that this nginx will use."""
        replicas = [replica_at(route.service, one) for one in sorted(set(route.all_endpoints).intersection(endpoints))]
        health, until = health_from_here(route.definition.service.health), self._clock.monotonic() + GATE_SECONDS
        while failing := unfit(self._health, health, replicas):
            if self._clock.monotonic() >= until:
                bad = next(one for one in replicas if one.id in failing)
                result = self._health.check(bad, health, redaction(route.definition.service))
                raise ConductorError(f"{route.service} at {bad.address} fails its check from this edge: {result}")
            self._clock.sleep(AGAIN_SECONDS)

    def _drain(self, request: RouteRequest, requests: Mapping[str, RouteRequest]) -> RouteAnswer:
        """Drain every cutover that was made here. A later request ends the wait: another command has taken over."""
        until = self._clock.monotonic() + request.seconds
        ports = {one.rpartition(":")[2] for one in request.endpoints}  # Swarm may have moved a replica since
        served = (self._traffic.serving(service) for service in {*self._routes.in_force(), *requests})
        left = self._traffic.known().difference(*served)
        endpoints = {*request.endpoints, *(one for one in left if one.rpartition(":")[2] in ports)}

        def stop_when_superseded(_: Draining) -> None:
            if any(self._latest.get(service, request.id) != request.id for service in requests):
                raise ConductorError("another command has taken over")

        drained = [
            self._traffic.drain(cutover, endpoints, max(0.0, until - self._clock.monotonic()), stop_when_superseded)
            for cutover in self._routes.cutovers(requests)
        ]
        return RouteAnswer(
            id=request.id,
            cut=sum(one.cut for one in drained),
            silent=sum(one.silent for one in drained),
            unknown=any(one.unknown for one in drained),
        )


def health_from_here(health: Health | None) -> Health:
    """Return the check of replicas that may run on another node: what only their own node can check is left to that one."""
    return health if health and (health.path or health.tcp) else REACHABLE


def replica_at(service: str, endpoint: str) -> Replica:
    """Return the replica at an endpoint, for its health check."""
    return Replica(
        id=endpoint, name=endpoint, service=service, revision="", release="", change="", address=endpoint,
        state="running",
    )  # fmt: skip
