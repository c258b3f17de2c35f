"""Implements the traffic port in a fleet: every edge makes a change with its own nginx, and confirms it."""

import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from math import ceil

import msgspec

from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.plan.edges import Confirmation, EdgeState, RouteRequest, RouteStep, SharedRoute, action_text, shared
from conductor.plan.route import Cutover, Route
from conductor.state.fleet.edges import EdgeFailed, Edges
from conductor.traffic.port import Drained, Draining, Traffic, TrafficUnavailable, Unreached

STEP_SECONDS = 30.0  # for the answers of all edges: one that was stopped for 10 s still answers
HOW_TO_ADD = "docker node update --label-add conductor.edge=true NODE"


class _State(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a cutover: the id of its request, and the route of each service that was in force before, if any."""

    id: str
    former: dict[str, SharedRoute | None]


class FleetTraffic:
    """Implements `Traffic`. `local` is the nginx of this manager: it alone is asked about, and installed, here.

    `names` returns the edges that have to confirm a change.
    """

    implementation = "fleet"

    def __init__(self, local: Traffic, edges: Edges, names: Callable[[], Collection[str]], clock: Clock) -> None:
        self._local = local
        self._edges = edges
        self._names = names
        self._clock = clock
        self.is_running = local.is_running
        self.state = local.state
        self.verify = local.verify
        self.version = local.version
        self.limits_old_connections = local.limits_old_connections
        self.serves = local.serves
        self.serving = local.serving
        self.way = local.way
        self.compared = local.compared
        self.edited = local.edited
        self.load = local.load
        self.install = local.install
        self.files = local.files
        self.notices = local.notices
        self.installed_files = local.installed_files

    def edges(self, service: str) -> tuple[EdgeState, ...]:
        """Return what each edge has confirmed of the latest request; nothing before the first one."""
        request = self._edges.current([service]).get(service)
        if request is None:
            return ()
        names = self._names()
        found = self._edges.confirmation({service: request}, names)
        return tuple(
            EdgeState(
                name=name, step=request.step, confirmed=name not in {*found.missing, *found.failed},
                error=found.failed[name].error if name in found.failed else "",
            )
            for name in names
        )  # fmt: skip

    def known(self) -> frozenset[str]:
        """Return what any edge knows: a port that has another app now must not be reached through one that was away."""
        return self._edges.known() | self._local.known()

    def check(self, routes: Collection[Route]) -> tuple[str, ...]:
        """Let every edge check the routes with its own configuration."""
        wanted = {route.service: shared(route) for route in routes}
        found = self._ask("check", self._former(wanted), wanted=wanted)
        return tuple(dict.fromkeys(warning for one in found.done for warning in one.warnings))

    def switch(self, routes: Collection[Route], record: Callable[[Cutover], None]) -> tuple[Unreached, ...]:
        """Let every edge try the new endpoints before anything is recorded, and switch after that."""
        wanted = {route.service: shared(route) for route in routes}
        former = self._former(wanted)
        cutover = _cutover(_State(id=secrets.token_hex(8), former=former))
        if former == wanted and self._is_confirmed(wanted):
            record(cutover)
            return ()
        before = {
            endpoint for service, one in former.items() if one for endpoint in one.restored(service).all_endpoints
        }
        new = {endpoint for route in routes for endpoint in route.all_endpoints} - before
        self._ask("gate", former, wanted=wanted, endpoints=new)
        record(cutover)
        found = self._ask("cutover", wanted, id_=cutover.state["id"])
        record(cutover)
        names = [msgspec.convert(name, Unreached) for one in found.done for name in one.unreached]
        return tuple(one for number, one in enumerate(names) if one not in names[:number])

    def undo(self, cutover: Cutover, services: Collection[str], record: Callable[[Cutover], None]) -> None:
        """Let every edge restore what it had, or take the former route if it never made the switch."""
        state = _state(cutover)
        former = {service: route for service, route in state.former.items() if service in services}
        if former:
            self._ask("undo", former, undoes=state.id)
        record(_cutover(_State(id=state.id, former=former)))

    def drain(
        self, cutover: Cutover, endpoints: Collection[str], seconds: float, progress: Callable[[Draining], None]
    ) -> Drained:
        """Let every edge drain its own connections, all within the same time."""
        if not endpoints:
            return Drained()
        until = self._clock.monotonic() + seconds

        def report(found: Confirmation) -> None:
            left = max(0, ceil(until - self._clock.monotonic()))
            progress(Draining(requests=0, connections=0, workers=0, seconds_left=left, edges=found.missing))

        found = self._ask(
            "drain", self._former(_state(cutover).former), endpoints=endpoints, seconds=seconds, progress=report
        )
        return Drained(
            cut=sum(one.cut for one in found.done),
            silent=sum(one.silent for one in found.done),
            unknown=any(one.unknown for one in found.done),
        )

    def _former(self, services: Iterable[str]) -> dict[str, SharedRoute | None]:
        """Return the route of each service that is in force by the latest request."""
        names = tuple(services)
        found = self._edges.current(names)
        return {service: found[service].route if service in found else None for service in names}

    def _is_confirmed(self, services: Iterable[str]) -> bool:
        """True when every edge has confirmed the latest request of each service."""
        current = self._edges.current(tuple(services))
        each = [self._edges.confirmation({service: one}, self._names()) for service, one in current.items()]
        return not any(one.missing or one.failed for one in each)

    def _ask(
        self,
        step: RouteStep,
        routes: Mapping[str, SharedRoute | None],
        *,
        id_: str = "",
        wanted: Mapping[str, SharedRoute] | None = None,
        endpoints: Iterable[str] = (),
        seconds: float = 0.0,
        progress: Callable[[Confirmation], None] = lambda _: None,
        undoes: str = "",
    ) -> Confirmation:
        """Return once every edge has made a step; raise, naming the edges that have not. `routes` are in force after it."""
        names = self._names()
        if not names:
            raise ConductorError(f"cannot {action_text(step, routes)}: no manager is an edge", HOW_TO_ADD)
        like = RouteRequest(
            id=id_ or secrets.token_hex(8),
            step=step,
            endpoints=tuple(sorted(endpoints)),
            seconds=float(seconds),
            undoes=undoes,
        )
        requests = {
            service: msgspec.structs.replace(like, route=route, wanted=wanted[service] if wanted else None)
            for service, route in routes.items()
        }
        try:
            return self._edges.request(requests, names, seconds + STEP_SECONDS, progress)
        except EdgeFailed as failed:
            if failed.unavailable:
                raise TrafficUnavailable(failed.sentence, failed.hint, failed.details) from failed
            raise


def _cutover(state: _State) -> Cutover:
    return Cutover(implementation=FleetTraffic.implementation, state=msgspec.to_builtins(state))


def _state(cutover: Cutover) -> _State:
    if cutover.implementation != FleetTraffic.implementation:
        raise ConductorError(
            f"cannot continue the cutover: it was begun with {cutover.implementation}, before host.fleet was set"
        )
    return msgspec.convert(cutover.state, _State)
