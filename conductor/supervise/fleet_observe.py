"""One pass of observation in a fleet. Every manager makes passes; what it sees includes what the other edges say."""

import hashlib
from collections.abc import Callable, Collection, Mapping

import msgspec

from conductor.change.context import Context
from conductor.change.crontab import wanted_crontab
from conductor.definitions.load import Definitions
from conductor.definitions.model import Definition
from conductor.health.monitor import Target
from conductor.plan.edges import EdgeView
from conductor.plan.reconcile import Condition, Observation
from conductor.plan.release import Wanted
from conductor.plan.replica import Replica
from conductor.plan.transition import drifted
from conductor.state.fleet.edges import Edges
from conductor.supervise.fleet_monitor import FleetMonitor
from conductor.supervise.observe import HostObservation, Observer


class AgreedDefinitions:
    """The definitions that are the same on every edge, because new files arrive on one after the other: two managers must not
    correct each other. A service whose definitions differ is as one whose definition is invalid."""

    def __init__(self, own: Callable[[], Definitions]) -> None:
        self._own = own
        self._digests: tuple[Definitions | None, dict[str, str]] = (None, {})
        self._agreed: tuple[object, Definitions] | None = None

    def digests(self) -> dict[str, str]:
        """Return what this edge publishes."""
        own = self._own()
        if self._digests[0] is not own:
            self._digests = (own, {id_: _digest(own.services.get(id_)) for id_ in sorted(own.ids)})
        return self._digests[1]

    def agree(self, others: Collection[Mapping[str, str]]) -> None:
        """Compare with what the edges have published."""
        own, digests = self._own(), self.digests()
        every = [one for one in others if one]
        if self._agreed is None or self._agreed[0] != (id(own), every):
            same = {id_ for id_, digest in digests.items() if all(one.get(id_) == digest for one in every)}
            agreed = msgspec.structs.replace(
                own,
                ids=tuple(dict.fromkeys((*own.ids, *(id_ for one in every for id_ in one)))),
                services={id_: one for id_, one in own.services.items() if id_ in same},
            )
            self._agreed = ((id(own), every), agreed)

    def __call__(self) -> Definitions:
        """Return those of the latest pass, unless the file of this manager was read again since."""
        own = self._own()
        return self._agreed[1] if self._agreed is not None and self._agreed[0][0] == id(own) else own  # type: ignore[index]


class FleetObserver(Observer):
    """Implements `Observer` with the `monitor` and the `definitions` of a fleet. `views` returns those of the edges that are not
    lost, and the nodes that are not ready."""

    def __init__(
        self,
        monitor: FleetMonitor,
        context: Context,
        definitions: AgreedDefinitions,
        edges: Edges,
        views: Callable[[], tuple[Mapping[str, EdgeView], Collection[str]]],
    ) -> None:
        super().__init__(monitor, context, definitions)
        self._fleet_monitor = monitor
        self._agreed = definitions
        self._edges = edges
        self._read_views = views
        self._stamp: object = None
        self.views: Mapping[str, EdgeView] = {}

    def stamp(self) -> object:
        """Return the last value of `refresh_stamp`: the caller must not wait for a manager."""
        return self._stamp

    def refresh_stamp(self) -> None:
        """Compute the stamp, which also changes with what the edges say."""
        self._stamp = (super().stamp(), self._edges.views())

    def observe(self, *, runtime_restarted: bool) -> HostObservation:
        """Make one pass. Swarm itself starts again what a restart has stopped."""
        self.views, self._fleet_monitor.not_ready = self._read_views()
        self._fleet_monitor.views = self.views
        self._agreed.agree([one.definitions for one in self.views.values()])
        return super().observe(runtime_restarted=False)

    def _targets(
        self, wanted: Wanted, definition: Definition | None, replicas: list[Replica], *, starting: bool
    ) -> list[Target]:
        """The ejector checks the endpoints of routes. It decides what an endpoint has to pass first, so passes check none of these."""
        found = super()._targets(wanted, definition, replicas, starting=starting)
        if definition is None or definition.service.nginx is None:
            return found
        return [
            msgspec.structs.replace(one, health=msgspec.structs.replace(one.health, none=True, path=None, tcp=False))
            for one in found
        ]

    def _observation(
        self, definitions: Definitions, wanted: Wanted, definition: Definition | None, replicas: list[Replica]
    ) -> Observation:
        """The files of this manager alone are no drift: another one may have other contents."""
        found = super()._observation(definitions, wanted, definition, replicas)
        drift = found.drift if found.drift is not None and drifted(wanted, found.drift) else None
        serving = self._serving(found) if found.serving is not None else None
        return msgspec.structs.replace(found, drift=drift, serving=serving)

    def _crontab_follows(self, definitions: Definitions, wanted: Wanted) -> bool:
        """Every manager has the crontab, and each firing is claimed by one of them."""
        defined = wanted.service in definitions.ids
        return self._context.crontabs.read(wanted.service) == wanted_crontab(self._context, wanted, defined=defined)

    def _serving(self, observation: Observation) -> frozenset[str] | None:
        """Return the endpoints that the edges have if a healthy replica is not among them, else None: each edge follows the health
        and the node of the replicas in a route by itself."""
        request = self._edges.current([observation.wanted.service]).get(observation.wanted.service)
        ports = {_port(one) for one in request.route.endpoints} if request and request.route else set()
        if all(_port(one.endpoint) in ports for one in observation.live(Condition.HEALTHY) if one.endpoint):
            return None
        running = observation.live(Condition.HEALTHY, Condition.STARTING, Condition.UNHEALTHY)
        return frozenset(one.endpoint for one in running if one.endpoint and _port(one.endpoint) in ports)


def _port(endpoint: str) -> str:
    return endpoint.rpartition(":")[2]


def _digest(definition: Definition | None) -> str:
    if definition is None:
        return ""
    return hashlib.sha256(msgspec.json.encode(definition.written, order="sorted")).hexdigest()[:16]
