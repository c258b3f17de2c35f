"""What the managers whose nginx carries traffic are asked to do, and what each of them answers (pure).

A request is a value in the object of a service. An answer is a value in the object of an edge, which only that edge writes.
"""

from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

import msgspec

RouteStep = Literal["gate", "cutover", "drain", "undo"]


class RouteRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One step that every edge makes for a service. `id` is unique. `content` belongs to the traffic layer and is JSON."""

    id: str
    step: RouteStep
    content: dict[str, Any] = {}


class RouteAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """How an edge ended the step of request `id`. `error` is empty when it is done. `cut` requests and `silent` connections were
    left at the deadline of a drain."""

    id: str
    error: str = ""
    cut: int = 0
    silent: int = 0


class Confirmation(NamedTuple):
    """The answers to one request so far: `missing` are the edges without one, `errors` are by edge."""

    missing: tuple[str, ...]
    errors: Mapping[str, str]
    cut: int
    silent: int


def confirmation(request: RouteRequest, edges: Collection[str], answers: Mapping[str, RouteAnswer]) -> Confirmation:
    """Return what is known of a request. Answers of other edges, and to earlier requests, do not count."""
    own = {edge: answers[edge] for edge in edges if edge in answers and answers[edge].id == request.id}
    return Confirmation(
        missing=tuple(sorted(set(edges) - set(own))),
        errors={edge: own[edge].error for edge in sorted(own) if own[edge].error},
        cut=sum(one.cut for one in own.values()),
        silent=sum(one.silent for one in own.values()),
    )
