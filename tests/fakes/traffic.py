"""An in-memory traffic layer: complete, without nginx, and without waiting.

`tests/fakes/traffic_contract.py` is the table of behaviours that it shares with nginx by reload.
"""

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec

from conductor.errors import ConductorError
from conductor.plan.canary import Comparison
from conductor.plan.edges import EdgeState
from conductor.plan.release import Maintenance
from conductor.plan.route import Cutover, Route, Split, TrafficState, Way
from conductor.traffic.port import Drained, Draining, Installed, ManagedFile, TrafficUnavailable, Unreached

Record = Callable[[Cutover], None]


class State(msgspec.Struct, frozen=True):
    """What is in force for a service."""

    endpoints: tuple[str, ...]
    maintenance: Maintenance | None = None
    split: Split | None = None


class FakeTraffic:
    """Implements `Traffic`. `routes` maps each service to the endpoints in force, `maintained` those in maintenance.

    `calls` has the names of the calls in order, `given` the routes that they were given. `running` is False while the traffic layer is down,
    `answering` while it does not answer, `loaded` while it runs without Conductor's routes, `installed` while Conductor's files are missing.
    """

    def __init__(self) -> None:
        self.routes: dict[str, tuple[str, ...]] = {}
        self.maintained: dict[str, Maintenance] = {}
        self.splits: dict[str, Split] = {}
        self.comparisons: dict[str, list[Comparison]] = {}  # by service, returned in turn; the last one for ever
        self.running = True
        self.loaded = True
        self.answering = True
        self.installed = True
        self.calls: list[str] = []
        self.given: list[Route] = []
        self.check_warnings: dict[str, str] = {}  # by service
        self.unreached: tuple[Unreached, ...] = ()
        self.edits: tuple[str, ...] = ()  # files that the operator has changed since the last load
        self.ways: dict[str, Way] = {}  # by service
        self.edited_files: dict[str, Path] = {}  # by service
        self.install_notices: tuple[str, ...] = ()
        self.outside: tuple[ManagedFile, ...] = ()  # what `installed_files` returns
        self.nginx_version = "1.27.4"  # empty: it is not installed
        self.limits = True  # how long an old connection lasts
        self.drained: list[tuple[str, ...]] = []
        self.unfinished: set[str] = set()  # endpoints with a request that does not end
        self.answers = True  # at the deadline of a drain
        self._old: set[str] = set()  # endpoints that old workers may know
        self._failures: list[tuple[str, int, BaseException, str]] = []

    def fail(self, method: str, nth: int = 1, error: BaseException | None = None, *, at: str = "before") -> None:
        """Raise `error` in the n-th call of `method` from now on (`*` is any), once.

        `at`: `before` anything, `recorded` after the cutover was recorded, or `after` the call took effect, unproven.
        """
        self._failures.append((method, nth, error or ConductorError(f"cannot {method}: injected by the test"), at))

    def is_running(self) -> bool:
        return self.state() is TrafficState.RUNNING

    def state(self) -> TrafficState:
        if not self.running:
            return TrafficState.DOWN if self.installed else TrafficState.FILES_MISSING
        if not self.answering:
            return TrafficState.NOT_ANSWERING
        return TrafficState.RUNNING if self.loaded else TrafficState.NOT_LOADED

    def check(self, routes: Collection[Route]) -> tuple[str, ...]:
        self._begin("check", routes)
        self._require_running()
        return tuple(self.check_warnings[route.service] for route in routes if route.service in self.check_warnings)

    def verify(self, routes: Collection[Route]) -> tuple[str, ...]:
        self._begin("verify")
        return tuple(self.check_warnings[route.service] for route in routes if route.service in self.check_warnings)

    def version(self) -> str:
        self._begin("version")
        if not self.nginx_version:
            raise ConductorError("cannot find nginx: /usr/sbin/nginx does not exist", "apt-get install nginx-light")
        return self.nginx_version

    def limits_old_connections(self) -> bool:
        return self.limits

    def serves(self, routes: Collection[Route]) -> bool:
        self._begin("serves", routes)
        return all(self._now(route.service) == _state(route) for route in routes)

    def switch(self, routes: Collection[Route], record: Record) -> tuple[Unreached, ...]:
        self.given += routes
        self._change("switch", {route.service: _state(route) for route in routes}, record, None)
        return self.unreached

    def undo(self, cutover: Cutover, services: Collection[str], record: Record) -> None:
        former = {service: was for service, was in cutover.state["former"].items() if service in services}
        to = {service: None if was is None else msgspec.convert(was, State) for service, was in former.items()}
        self._change("undo", to, record, former)

    def _change(
        self, method: str, to: Mapping[str, State | None], record: Record, former: dict[str, object] | None
    ) -> None:
        error, at = self._begin(method)
        self._require_running()
        now = {service: self._now(service) for service in to}
        restored = msgspec.to_builtins(now) if former is None else former
        cutover = Cutover(implementation="fake", state={"former": restored})
        record(cutover)
        if error and at == "recorded":
            raise error
        if method == "switch" and now == to and not error:
            return  # it is in force
        self._old |= {endpoint for was in now.values() if was for endpoint in was.endpoints}
        for service, state in to.items():
            self._set(service, state)
        if error:
            raise error
        record(Cutover(implementation="fake", state={**cutover.state, "verified": True}))

    def _now(self, service: str) -> State | None:
        endpoints = self.routes.get(service)
        return None if endpoints is None else State(endpoints, self.maintained.get(service), self.splits.get(service))

    def _set(self, service: str, state: State | None) -> None:
        self.routes.pop(service, None)
        self.maintained.pop(service, None)
        self.splits.pop(service, None)
        if state is not None:
            self.routes[service] = state.endpoints
            if state.maintenance is not None:
                self.maintained[service] = state.maintenance
            if state.split is not None:
                self.splits[service] = state.split

    def drain(
        self, cutover: Cutover, endpoints: Collection[str], seconds: float, progress: Callable[[Draining], None]
    ) -> Drained:
        self._begin("drain")
        answering = self.routes.keys() - self.maintained.keys()
        served = {endpoint for service in answering for endpoint in self.routes[service]}
        assert served.isdisjoint(endpoints), "an endpoint that is in force cannot be drained"
        assert cutover.implementation == "fake"
        self.drained.append(tuple(endpoints))
        unfinished = len(self.unfinished.intersection(endpoints))
        progress(Draining(requests=unfinished, connections=0, workers=1, seconds_left=seconds))
        self._old -= set(endpoints) - self.unfinished
        return Drained(cut=unfinished, unknown=not self.answers)

    def serving(self, service: str) -> frozenset[str]:
        return frozenset(self.routes.get(service, ()))

    def way(self, service: str) -> Way:
        return self.ways.get(service, Way.RELOAD)

    def compared(self, service: str) -> Comparison:
        self._begin("compared")
        found = self.comparisons.get(service, [Comparison()])
        return found.pop(0) if len(found) > 1 else found[0]

    def edges(self, service: str) -> tuple[EdgeState, ...]:
        return ()

    def edited(self, service: str) -> Path | None:
        return self.edited_files.get(service)

    def known(self) -> frozenset[str]:
        return frozenset(endpoint for ends in self.routes.values() for endpoint in ends) | frozenset(self._old)

    def load(self) -> None:
        self._begin("load")

    def install(self, routes: Collection[Route], keep: Collection[str]) -> Installed:
        self._begin("install", routes)
        before = {service: self._now(service) for service in self.routes}
        for service in before.keys() - set(keep):
            self._set(service, None)
        for route in routes:
            self._set(route.service, _state(route))
        self._old |= self.unfinished.intersection(end for was in before.values() if was for end in was.endpoints)
        names = {*before, *self.routes}
        wrote = tuple(sorted(name for name in names if before.get(name) != self._now(name)))
        edits, self.edits = self.edits, ()
        return Installed(wrote=wrote, loaded=edits)

    def files(self, routes: Collection[Route]) -> tuple[ManagedFile, ...]:
        return tuple(
            ManagedFile(
                path=Path(f"/traffic/{route.service}"),
                wanted=_text(_state(route)),
                present=_text(now) if (now := self._now(route.service)) else None,
            )
            for route in routes
        )

    def notices(self, routes: Collection[Route]) -> tuple[str, ...]:
        return self.install_notices

    def installed_files(self) -> tuple[ManagedFile, ...]:
        return self.outside

    def _require_running(self) -> None:
        if not self.running:
            raise TrafficUnavailable("the traffic layer is not running")
        if not self.loaded:
            raise ConductorError("the traffic layer does not include the routes")

    def _begin(self, method: str, routes: Collection[Route] = ()) -> tuple[BaseException | None, str]:
        """Count the call. A failure `before` is raised here, others are returned for the caller."""
        self.calls.append(method)
        self.given += routes
        for number, (name, left, error, at) in enumerate(self._failures):
            if name in {method, "*"}:
                if left > 1:
                    self._failures[number] = (name, left - 1, error, at)
                    continue
                del self._failures[number]
                if at == "before" or method not in {"switch", "undo"}:
                    raise error
                return error, at
        return None, ""


def _state(route: Route) -> State:
    """Return the endpoints in one order, as nginx's files have them."""
    return State(tuple(sorted(route.all_endpoints)), route.maintenance, route.split)


def _text(state: State) -> str:
    page = [f"503: {state.maintenance.reason}"] if state.maintenance else []
    return "\n".join((*page, *state.endpoints))
