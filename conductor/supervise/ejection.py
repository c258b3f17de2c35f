"""Which endpoints get requests from this edge: those that answer here. It waits for no manager, so a lost leader delays nothing."""

import threading
from collections.abc import Callable, Iterable

import msgspec

from conductor.clock import Clock
from conductor.definitions.environment import redaction
from conductor.health.monitor import Target
from conductor.plan.backoff import SPACING_SECONDS
from conductor.plan.edges import SharedRoute
from conductor.plan.reconcile import Condition
from conductor.plan.replica import Replica
from conductor.plan.route import Route
from conductor.supervise.edge import health_from_here, replica_at
from conductor.supervise.edge_routes import EdgeRoutes
from conductor.supervise.log import SupervisorLog
from conductor.traffic.port import Traffic

EJECT_SECONDS = 2.0  # between two looks, unless a condition changes
SUBJECT = "ejection"  # in the log; conditions of replicas are those of the health monitor


class Ejector:
    """Takes endpoints that fail out of the routes in force, and puts them back. `watch` and `condition` are those of a health monitor,
    `unconnected` returns the endpoints that accept no connection, `replicas` lists the replicas of the fleet."""

    def __init__(
        self,
        *,
        traffic: Traffic,
        routes: EdgeRoutes,
        clock: Clock,
        log: SupervisorLog,
        watch: Callable[[Iterable[Target]], None],
        condition: Callable[[str], Condition],
        unconnected: Callable[[], frozenset[str]],
        replicas: Callable[[], Iterable[Replica]],
    ) -> None:
        self._traffic = traffic
        self._routes = routes
        self._clock = clock
        self._log = log
        self._watch = watch
        self._condition = condition
        self._unconnected = unconnected
        self._replicas = replicas
        self._restored: dict[str, tuple[SharedRoute, Route]] = {}
        self._located: dict[tuple[str, str], str] = {}  # where a replica is now, by its service and its port
        self._switched: dict[str, float] = {}
        self._is_settled = True

    def run(self, ended: threading.Event, woken: threading.Event) -> None:
        """Look until `ended`, at once when `woken`."""
        while not ended.is_set():
            woken.wait(EJECT_SECONDS)
            woken.clear()
            try:
                self.eject()
            except Exception as error:  # noqa: BLE001 (a bug, or nginx is down: the next look tries again)
                self._log.failed(SUBJECT, error)
            else:
                self._log.recovered(SUBJECT)

    def locate(self) -> None:
        """Ask a manager where the replicas are, if one that is not healthy here may have moved to another node. Its port stays."""
        if not self._is_settled:
            found = [(one.service, one.endpoint) for one in self._replicas() if one.running and one.endpoint]
            self._located = {(service, _port(endpoint)): endpoint for service, endpoint in found}

    def eject(self) -> None:
        """Send requests to the endpoints that are healthy here. When none is, nothing is changed."""
        with self._routes.lock:
            routes = [self._now(service, route) for service, route in self._routes.in_force().items()]
            routes = [one for one in routes if one.endpoints and not one.maintenance]
            serving = {one.service: self._traffic.serving(one.service) for one in routes}
            self._watch([target for one in routes for target in _targets(one, serving[one.service])])
            chosen = [self._healthy(one) for one in routes]
            self._is_settled = all(
                len(one.endpoints) == len(all_.endpoints) for one, all_ in zip(chosen, routes, strict=True)
            )
            changed = [one for one in chosen if self._is_due(one, serving[one.service])]
            self._switched |= {one.service: self._clock.monotonic() for one in changed}
            for one in changed:
                self._log.info(
                    f"{one.service}: nginx on this edge now sends requests only to {', '.join(one.endpoints)}"
                )
            if changed:
                self._traffic.switch(changed, lambda _cutover: None)

    def _now(self, service: str, route: SharedRoute) -> Route:
        known = self._restored.get(service)
        if known is None or known[0] != route:
            known = self._restored[service] = (route, route.restored(service))
            self._located = {key: endpoint for key, endpoint in self._located.items() if key[0] != service}
        endpoints = (self._located.get((service, _port(one)), one) for one in route.endpoints)
        return msgspec.structs.replace(known[1], endpoints=tuple(endpoints))

    def _healthy(self, route: Route) -> Route:
        found = (one for one in route.endpoints if self._condition(one) == Condition.HEALTHY)
        unconnected = self._unconnected()
        return msgspec.structs.replace(route, endpoints=tuple(one for one in found if one not in unconnected))

    def _is_due(self, route: Route, serving: frozenset[str]) -> bool:
        """A failing endpoint leaves at once; otherwise, changes of a service have some time between them."""
        wanted = frozenset(route.endpoints)
        if not wanted or wanted == serving:
            return False
        since = self._clock.monotonic() - self._switched.get(route.service, -SPACING_SECONDS)
        return wanted < serving or since >= SPACING_SECONDS


def _targets(route: Route, serving: frozenset[str]) -> list[Target]:
    """Return the check of each endpoint. One that gets no requests now has to pass first."""
    service = route.definition.service

    def redact(text: str) -> str:  # reads the secrets, only when a check has failed
        return redaction(service)(text)

    health = health_from_here(service.health)
    return [Target(replica_at(route.service, one), health, one not in serving, redact) for one in route.endpoints]


def _port(endpoint: str) -> str:
    return endpoint.rpartition(":")[2]
