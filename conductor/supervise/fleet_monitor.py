"""The health checks of a manager: one of each endpoint, for the ejection from its own nginx and for the passes."""

import threading
from collections.abc import Callable, Collection, Iterable, Mapping

import msgspec

from conductor.health.monitor import HealthMonitor, Target
from conductor.plan.edges import EdgeView, failing_at_most
from conductor.plan.reconcile import Condition
from conductor.plan.replica import CheckResult
from conductor.supervise.edge import health_from_here, replica_at


class FleetMonitor(HealthMonitor):
    """For passes, a replica is unhealthy when its endpoint fails on most edges, one of which may just be cut off, and on the edge of
    its own node, without which that node may be lost: Swarm then starts the replica elsewhere. `views` are those of the edges that
    are not lost; replicas on nodes that are `not_ready` are left to Swarm."""

    def __init__(
        self, check: Callable[[Target], CheckResult], changed: Callable[[], None], monotonic: Callable[[], float]
    ) -> None:
        super().__init__(check, changed, monotonic)
        self._changing = threading.Lock()
        self._routed: tuple[Target, ...] = ()
        self._replicas: dict[str, Target] = {}
        self._runs_since: dict[
            tuple[str, str | None], float
        ] = {}  # by replica and endpoint: Swarm restarts and moves it
        self.views: Mapping[str, EdgeView] = {}
        self.not_ready: Collection[str] = ()

    def watch_routes(self, targets: Iterable[Target]) -> None:
        """Check these endpoints, besides those of replicas."""
        with self._changing:
            self._routed = tuple(targets)
            self._watch_all()

    def watch(self, targets: Iterable[Target]) -> None:
        """Check the endpoints of these running replicas, besides those of routes; not those with `health: none`."""
        with self._changing:
            self._replicas = {one.replica.id: one for one in targets if one.replica.endpoint}
            now, keys = self._monotonic(), [(id_, one.replica.endpoint) for id_, one in self._replicas.items()]
            self._runs_since = {key: self._runs_since.get(key, now) for key in keys}
            self._watch_all()

    def _watch_all(self) -> None:
        endpoints = {
            one.replica.endpoint: msgspec.structs.replace(
                one, replica=replica_at(one.replica.service, one.replica.address), health=health_from_here(one.health)
            )
            for one in self._replicas.values()
            if not one.health.none
        }
        super().watch([*endpoints.values(), *self._routed])  # the last of two with one id is checked

    def condition_here(self, endpoint: str) -> Condition:
        """Return the condition by the checks of this manager."""
        return super().condition(endpoint)

    def condition(self, replica: str) -> Condition:
        """Return the condition of a running replica. One that has just been started somewhere may take its time."""
        target = self._replicas.get(replica)
        if target is None or not self._fails(target.replica.node, target.replica.address):
            return Condition.HEALTHY
        ran = self._monotonic() - self._runs_since.get((replica, target.replica.endpoint), self._monotonic())
        return Condition.UNHEALTHY if ran >= target.health.start_timeout else Condition.STARTING

    def _fails(self, node: str, endpoint: str) -> bool:
        own = self.views.get(node)  # None: no edge, or a new one
        return (
            node not in self.not_ready
            and (own is None or endpoint in own.failing)
            and endpoint in failing_at_most(tuple(self.views.values()))
        )

    def failing(self) -> frozenset[str]:
        """Return the endpoints that fail the checks of this manager."""
        found = super().results().items()
        return frozenset(endpoint for endpoint, (condition, _) in found if condition == Condition.UNHEALTHY)

    def results(self) -> dict[str, tuple[Condition, str]]:
        """Return the results by replica."""
        found = super().results()
        return {
            id_: (self.condition(id_), found.get(one.replica.address, (None, ""))[1])
            for id_, one in tuple(self._replicas.items())
        }

    def recent(self) -> dict[str, str]:
        """Return the last checks by replica."""
        found = super().recent()
        return {id_: found[at] for id_, one in tuple(self._replicas.items()) if (at := one.replica.address) in found}
