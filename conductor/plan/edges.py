"""What the managers whose nginx carries traffic are asked to do, and what each of them answers (pure).

A request is a value in the object of a service. An answer is a value in the object of an edge, which only that edge writes.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

from conductor.definitions.load import restore
from conductor.plan.release import Maintenance
from conductor.plan.route import Route, Split

RouteStep = Literal["check", "gate", "cutover", "undo", "drain"]
_ACTIONS: dict[RouteStep, str] = {
    "check": "check nginx's files for",
    "gate": "check the new replicas of",
    "cutover": "switch nginx for",
    "undo": "switch nginx back for",
    "drain": "drain the old replicas of",
}


class SharedRoute(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A `Route` as JSON. `definition` is its stored form, with secrets as references only; the endpoints are sorted."""

    definition: dict[str, Any]
    endpoints: tuple[str, ...]
    template: str | None = None
    maintenance: Maintenance | None = None
    split: Split | None = None

    def restored(self, service: str) -> Route:
        """Return the route of a service."""
        definition = restore(service, self.definition)
        return Route(definition, self.endpoints, self.template, self.maintenance, self.split)


def shared(route: Route) -> SharedRoute:
    """Return a route as JSON."""
    return SharedRoute(
        definition=route.definition.written, endpoints=tuple(sorted(route.endpoints)), template=route.template,
        maintenance=route.maintenance, split=route.split,
    )  # fmt: skip


class RouteRequest(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One step that every edge makes for a service. Services that change together have requests with the same, unique `id`.

    `route` is in force on every edge that has made the step, whatever it missed before: None before the first cutover. `wanted`
    is the route that a check or a gate is about. `endpoints` are those to try at a gate, or to drain within `seconds`. `undoes`
    is the id of the cutover to undo.
    """

    id: str
    step: RouteStep
    route: SharedRoute | None = None
    wanted: SharedRoute | None = None
    endpoints: tuple[str, ...] = ()
    seconds: float = 0.0
    undoes: str = ""


class RouteAnswer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How an edge ended the step of request `id`. `error` is empty when it is done; `unavailable`: its traffic layer is not running.

    `unreached` are the names whose requests do not reach their service. `cut` requests and `silent` connections were left at
    the deadline of a drain; `unknown`: perhaps more.
    """

    id: str
    error: str = ""
    details: tuple[str, ...] = ()
    unavailable: bool = False
    warnings: tuple[str, ...] = ()
    unreached: tuple[dict[str, Any], ...] = ()
    cut: int = 0
    silent: int = 0
    unknown: bool = False


class EdgeView(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What an edge says of itself: every endpoint to which it may still send a request, the endpoints that fail its checks, and
    a digest of each definition in its file (empty: invalid)."""

    known: tuple[str, ...] = ()
    failing: tuple[str, ...] = ()
    definitions: dict[str, str] = {}


class EdgeState(msgspec.Struct, frozen=True, kw_only=True):
    """What an edge has confirmed of a service: the latest `step` that was requested, unless `confirmed` is False. `error` is why it
    failed there."""

    name: str
    step: RouteStep
    confirmed: bool
    error: str = ""


class Confirmation(NamedTuple):
    """The answers to one request so far, which are `done`: `missing` are the edges without one, `failed` those with an error."""

    missing: tuple[str, ...]
    failed: Mapping[str, RouteAnswer]
    done: tuple[RouteAnswer, ...]


def confirmation(
    request: str, services: Collection[str], edges: Collection[str], answers: Mapping[str, Mapping[str, RouteAnswer]]
) -> Confirmation:
    """Return what is known of the request with this id. `answers` are by edge and service: those of other edges, and to earlier
    requests, do not count."""
    own = {
        edge: [one for service in services if (one := answers.get(edge, {}).get(service)) and one.id == request]
        for edge in edges
    }
    return Confirmation(
        missing=tuple(sorted(edge for edge, found in own.items() if len(found) < len(services))),
        failed={edge: bad[0] for edge in sorted(own) if (bad := [one for one in own[edge] if one.error])},
        done=tuple(one for edge in sorted(own) for one in own[edge]),
    )


def failing_at_most(views: Collection[EdgeView]) -> frozenset[str]:
    """Return the endpoints that fail the checks of more than half of the edges. One edge may just be cut off."""
    counts = Counter(endpoint for one in views for endpoint in one.failing)
    return frozenset(endpoint for endpoint, count in counts.items() if 2 * count > len(views))


def action_text(step: RouteStep, services: Iterable[str]) -> str:
    """Return what a step does, for example "switch nginx for web"."""
    return f"{_ACTIONS[step]} {', '.join(sorted(services))}"
