"""Requests to the edges of a fleet, and their answers, in shared objects."""

from collections.abc import Callable, Collection
from typing import Final

import msgspec

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.json_text import decode
from conductor.plan.edges import Confirmation, RouteAnswer, RouteRequest, confirmation
from conductor.state.fleet.leases import Leases
from conductor.state.fleet.objects import Objects

ROUTE: Final = "route"  # a value in the object of a service
EDGE: Final = "edge."  # begins the name of an edge's object; no service id contains a dot
POLL_SECONDS = 0.1


class Edges:
    """One manager's view of the edges. A command requests under the lock of the service; `supervise` of each edge answers."""

    def __init__(self, objects: Objects, leases: Leases, clock: Clock, cancellation: Cancellation) -> None:
        self._objects = objects
        self._leases = leases
        self._clock = clock
        self._cancellation = cancellation

    def requests(self) -> dict[str, RouteRequest]:
        """Return the latest request of each service."""
        found = {one.name: one.values[ROUTE] for one in self._objects.read_all() if ROUTE in one.values}
        return {name: decode(text, RouteRequest) for name, text in found.items()}

    def request(
        self,
        service: str,
        request: RouteRequest,
        edges: Collection[str],
        seconds: float,
        progress: Callable[[Confirmation], None] = lambda _: None,
    ) -> Confirmation:
        """Store a request, and return once all `edges` have answered; raise, naming them, when one fails or is silent for
        `seconds`."""
        self._leases.write(service, {ROUTE: msgspec.json.encode(request).decode()})
        until = self._clock.monotonic() + seconds
        while (found := self._confirmation(service, request, edges)).missing and not found.errors:
            if self._clock.monotonic() >= until:
                names = ", ".join(found.missing)
                hint = f"check conductor supervise there; --without-edge {found.missing[0]} continues without it"
                raise ConductorError(f"cannot {request.step} {service}: edge {names} has not confirmed it", hint)
            progress(found)
            self._cancellation.wait(POLL_SECONDS)
        if found.errors:
            details = tuple(f"edge {edge}: {error}" for edge, error in found.errors.items())
            raise ConductorError(f"cannot {request.step} {service}: edge {', '.join(found.errors)} failed", "", details)
        return found

    def _confirmation(self, service: str, request: RouteRequest, edges: Collection[str]) -> Confirmation:
        answers = {edge: answer for edge in edges if (answer := self.answer(edge, service))}
        return confirmation(request, edges, answers)

    def answer(self, edge: str, service: str) -> RouteAnswer | None:
        """Return the latest answer of an edge about a service."""
        found = self._objects.read(f"{EDGE}{edge}")
        text = found.values.get(service) if found else None
        return decode(text, RouteAnswer) if text else None

    def confirm(self, edge: str, service: str, answer: RouteAnswer) -> None:
        """Store an answer of this edge, unless it is stored already."""
        name, text = f"{EDGE}{edge}", msgspec.json.encode(answer).decode()
        while True:
            found = self._objects.read(name)
            if found is None:
                if self._objects.create(name, {service: text}):
                    return
            elif found.values.get(service) == text or self._objects.write(found, {**found.values, service: text}):
                return
