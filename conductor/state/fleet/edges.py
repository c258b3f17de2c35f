"""Requests to the edges of a fleet, and their answers, in shared objects."""

from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

import msgspec

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.json_text import decode
from conductor.plan.edges import Confirmation, EdgeView, RouteAnswer, RouteRequest, action_text, confirmation
from conductor.plan.lease import Values
from conductor.state.fleet.leases import Leases
from conductor.state.fleet.objects import Objects

ROUTE: Final = "route"  # a value in the object of a service
EDGE: Final = "edge."  # begins the name of an edge's object; no service id contains a dot
VIEW: Final = ".view"  # a value in the object of an edge; no service id begins with a dot
FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS, POLL_GROWTH = 0.03, 0.1, 1.5


class EdgeFailed(ConductorError):  # noqa: N818 (an answer)
    """At least one edge could not make a step. `unavailable`: the traffic layer of one is not running."""

    unavailable = False


class Seen(NamedTuple):
    """One read of all objects by an edge: the latest request of each service, its own answers, and what it said of itself."""

    requests: Mapping[str, RouteRequest]
    answers: Mapping[str, RouteAnswer]
    view: EdgeView


class Edges:
    """One manager's view of the edges. A command requests under the locks of the services; `supervise` of each edge answers."""

    def __init__(self, objects: Objects, leases: Leases, clock: Clock, cancellation: Cancellation) -> None:
        self._objects = objects
        self._leases = leases
        self._clock = clock
        self._cancellation = cancellation

    def current(self, services: Collection[str]) -> dict[str, RouteRequest]:
        """Return the latest request of each of these services that has one."""
        return {service: one for service in services if (one := _request(self._values(service)))}

    def request(
        self,
        requests: Mapping[str, RouteRequest],
        edges: Collection[str],
        seconds: float,
        progress: Callable[[Confirmation], None] = lambda _: None,
    ) -> Confirmation:
        """Store requests with the same id, by service, and return once all `edges` have answered; raise, naming them, when one
        fails or is silent for `seconds`."""
        for service, one in requests.items():
            self._leases.write(service, {ROUTE: msgspec.json.encode(one).decode()})
        action = action_text(next(iter(requests.values())).step, requests)
        until, pause = self._clock.monotonic() + seconds, FIRST_POLL_SECONDS
        while (found := self.confirmation(requests, edges)).missing and not found.failed:
            if self._clock.monotonic() >= until:
                names = ", ".join(found.missing)
                without = " ".join(f"--without-edge {one}" for one in found.missing)
                hint = f"check supervise there, or run the command again with {without}"
                raise ConductorError(
                    f"cannot {action}: edge{'s' * (len(found.missing) > 1)} {names} did not confirm this step", hint
                )
            progress(found)
            self._cancellation.wait(pause)
            pause = min(pause * POLL_GROWTH, LONGEST_POLL_SECONDS)
        if found.failed:
            lines = [(f"edge {edge}: {one.error}", *one.details) for edge, one in found.failed.items()]
            error = EdgeFailed(
                f"cannot {action}: edge{'s' * (len(found.failed) > 1)} {', '.join(found.failed)} failed",
                "",
                tuple(sum(lines, ())),
            )
            error.unavailable = any(one.unavailable for one in found.failed.values())
            raise error
        return found

    def confirmation(self, requests: Mapping[str, RouteRequest], edges: Collection[str]) -> Confirmation:
        """Return what the edges have answered to requests with the same id."""
        answers = {edge: _answers(self._values(f"{EDGE}{edge}")) for edge in edges}
        return confirmation(next(iter(requests.values())).id, requests, edges, answers)

    def known(self) -> frozenset[str]:
        """Return every endpoint to which an edge may still send a request, by what it said last."""
        return frozenset(endpoint for one in self.views().values() for endpoint in one.known)

    def views(self) -> dict[str, EdgeView]:
        """Return what each edge said of itself. One read."""
        found = {one.name: one.values for one in self._objects.read_all() if one.name.startswith(EDGE)}
        return {name.removeprefix(EDGE): _view(values) for name, values in found.items()}

    def see(self, edge: str) -> Seen:
        """Return what an edge has to do, and has done. One read."""
        objects = {one.name: one.values for one in self._objects.read_all()}
        own = objects.get(f"{EDGE}{edge}", {})
        requests = {name: request for name, values in objects.items() if (request := _request(values))}
        return Seen(requests, _answers(own), _view(own))

    def confirm(self, edge: str, answers: Mapping[str, RouteAnswer], view: EdgeView) -> None:
        """Store answers of this edge, by service, and what it says of itself, unless that is stored already."""
        changed = {service: msgspec.json.encode(one).decode() for service, one in answers.items()}
        changed[VIEW] = msgspec.json.encode(view).decode()
        name = f"{EDGE}{edge}"
        while True:
            found = self._objects.read(name)
            values = {**(found.values if found else {}), **changed}
            if found and found.values == values:
                return
            if self._objects.write(found, values) if found else self._objects.create(name, values):
                return

    def _values(self, name: str) -> Values:
        found = self._objects.read(name)
        return found.values if found else {}


def _request(values: Values) -> RouteRequest | None:
    return decode(values[ROUTE], RouteRequest) if ROUTE in values else None


def _answers(values: Values) -> dict[str, RouteAnswer]:
    found = {service: text for service, text in values.items() if not service.startswith(".")}
    return {service: decode(text, RouteAnswer) for service, text in found.items()}


def _view(values: Values) -> EdgeView:
    return decode(values[VIEW], EdgeView) if VIEW in values else EdgeView()
