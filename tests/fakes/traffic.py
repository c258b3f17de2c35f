"""An in-memory traffic layer: complete, without nginx, and without waiting.

`tests/fakes/traffic_contract.py` is the table of behaviours that it shares with nginx by reload.
"""

from collections.abc import Callable, Collection
from pathlib import Path

from conductor.errors import ConductorError
from conductor.plan.route import Cutover, Route
from conductor.traffic.port import Drained, ManagedFile, TrafficUnavailable

Record = Callable[[Cutover], None]


class FakeTraffic:
    """Implements `Traffic`. `routes` maps each service to the endpoints in force; None of a service: it has no route.

    `calls` has the names of the calls in order. `running` is False while the traffic layer is down.
    """

    def __init__(self) -> None:
        self.routes: dict[str, tuple[str, ...]] = {}
        self.running = True
        self.calls: list[str] = []
        self.check_warnings: dict[str, str] = {}  # by service
        self.install_notices: tuple[str, ...] = ()
        self.drained: list[tuple[str, ...]] = []
        self.unfinished: set[str] = set()  # endpoints with a request that does not end
        self._old: set[str] = set()  # endpoints that old workers may know
        self._failures: list[tuple[str, int, BaseException, str]] = []

    def fail(self, method: str, nth: int = 1, error: BaseException | None = None, *, at: str = "before") -> None:
        """Raise `error` in the n-th call of `method` from now on (`*` is any), once.

        `at`: `before` anything, `recorded` after the cutover was recorded, or `after` the call took effect, unproven.
        """
        self._failures.append((method, nth, error or ConductorError(f"cannot {method}: injected by the test"), at))

    def is_running(self) -> bool:
        return self.running

    def check(self, routes: Collection[Route]) -> tuple[str, ...]:
        self._begin("check")
        self._require_running()
        return tuple(self.check_warnings[route.service] for route in routes if route.service in self.check_warnings)

    def serves(self, routes: Collection[Route]) -> bool:
        self._begin("serves")
        return all(self.routes.get(route.service) == _endpoints(route) for route in routes)

    def switch(self, routes: Collection[Route], record: Record) -> None:
        self._change("switch", {route.service: _endpoints(route) for route in routes}, record, None)

    def undo(self, cutover: Cutover, services: Collection[str], record: Record) -> None:
        former = {service: was for service, was in cutover.state["former"].items() if service in services}
        to = {service: None if was is None else tuple(was) for service, was in former.items()}
        self._change("undo", to, record, former)

    def _change(
        self, method: str, to: dict[str, tuple[str, ...] | None], record: Record, former: dict[str, object] | None
    ) -> None:
        error, at = self._begin(method)
        self._require_running()
        now = {service: self.routes.get(service) for service in to}
        cutover = Cutover(implementation="fake", state={"former": now if former is None else former})
        record(cutover)
        if error and at == "recorded":
            raise error
        if method == "switch" and now == to and not error:
            return  # it is in force
        self._old |= {endpoint for endpoints in now.values() for endpoint in endpoints or ()}
        for service, endpoints in to.items():
            if endpoints is None:
                self.routes.pop(service, None)
            else:
                self.routes[service] = endpoints
        if error:
            raise error
        record(cutover)

    def drain(
        self, cutover: Cutover, endpoints: Collection[str], seconds: float, progress: Callable[[str], None]
    ) -> Drained:
        self._begin("drain")
        served = {endpoint for ends in self.routes.values() for endpoint in ends}
        assert served.isdisjoint(endpoints), "an endpoint that is in force cannot be drained"
        assert cutover.implementation == "fake"
        self.drained.append(tuple(endpoints))
        self._old -= set(endpoints) - self.unfinished
        return Drained(cut=len(self.unfinished.intersection(endpoints)))

    def serving(self, service: str) -> frozenset[str]:
        return frozenset(self.routes.get(service, ()))

    def known(self) -> frozenset[str]:
        return frozenset(endpoint for ends in self.routes.values() for endpoint in ends) | frozenset(self._old)

    def load(self) -> None:
        self._begin("load")

    def install(self, routes: Collection[Route], keep: Collection[str]) -> tuple[str, ...]:
        self._begin("install")
        before = dict(self.routes)
        self.routes = {service: ends for service, ends in self.routes.items() if service in keep}
        self.routes |= {route.service: _endpoints(route) for route in routes}
        self._old |= self.unfinished.intersection(endpoint for ends in before.values() for endpoint in ends)
        names = {*before, *self.routes}
        return tuple(sorted(name for name in names if before.get(name) != self.routes.get(name)))

    def files(self, routes: Collection[Route]) -> tuple[ManagedFile, ...]:
        return tuple(
            ManagedFile(
                path=Path(f"/traffic/{route.service}"),
                wanted="\n".join(_endpoints(route)),
                present="\n".join(self.routes[route.service]) if route.service in self.routes else None,
            )
            for route in routes
        )

    def notices(self) -> tuple[str, ...]:
        return self.install_notices

    def installed_files(self) -> tuple[ManagedFile, ...]:
        return ()

    def _require_running(self) -> None:
        if not self.running:
            raise TrafficUnavailable("the traffic layer is not running")

    def _begin(self, method: str) -> tuple[BaseException | None, str]:
        """Count the call. A failure `before` is raised here, others are returned for the caller."""
        self.calls.append(method)
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


def _endpoints(route: Route) -> tuple[str, ...]:
    """Return the endpoints in one order, as nginx's files have them."""
    return tuple(sorted(route.endpoints))
