"""The rows of `service list` and `service status` as values: one service, one replica, and their conditions (pure)."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

from conductor.plan.release import Hold
from conductor.snapshot import notes
from conductor.snapshot.notes import AnyNote
from conductor.times import time_text

VERSION = 1  # of the JSON document


class ServiceCondition(StrEnum):
    """The condition of a service. If several apply, the first one is used."""

    DAMAGED_STATE = "damaged-state"
    UNDEFINED = "undefined"
    INVALID_DEFINITION = "invalid-definition"
    NEVER_DEPLOYED = "never-deployed"
    MISSING = "missing"
    UNHEALTHY = "unhealthy"
    SURPLUS = "surplus"
    TRAFFIC_DOWN = "traffic-down"
    NEEDS_ATTENTION = "needs-attention"  # a note contains what an operator must do
    STOPPED = "stopped"
    MAINTENANCE = "maintenance"
    PAUSED = "paused"
    OK = "ok"


class CheckOutcome(StrEnum):
    """The health of one replica: what `supervise` published, or the result of a check made now. `NOT_CHECKED`: the replica
    is not running or has no health check."""

    HEALTHY = "healthy"
    STARTING = "starting"  # not healthy yet, and within its start timeout
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"  # the check could not be made
    NOT_CHECKED = "not-checked"


class ReplicaRow(msgspec.Struct, frozen=True, kw_only=True):
    """One replica, checked as the live release's definition requires. `created` is RFC 3339 in UTC; `answer` is the result of a
    failed check, without secrets."""

    id: str
    name: str
    node: str
    revision: str
    endpoint: str | None
    state: str
    created: str = ""
    health: CheckOutcome
    answer: str = ""

    @property
    def is_running(self) -> bool:
        """True when the runtime lists it as running."""
        return self.state == "running"

    @property
    def passes(self) -> bool:
        """True unless a check failed."""
        return self.health in {CheckOutcome.HEALTHY, CheckOutcome.NOT_CHECKED}

    def describe(self) -> str:
        """Return the health as text."""
        if self.health is CheckOutcome.NOT_CHECKED:
            return "-"
        return self.answer or self.health.value


class ServiceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One service. `wanted` is how many replicas there should be, `running` how many of the live release are running, and
    `healthy` how many of these are healthy. `scale` is the count set by an operator, `paused` a pause that is not over,
    `maintenance` who began it and when, with the message as `reason`."""

    service: str
    revision: str | None = None
    wanted: int = 0
    running: int
    healthy: int = 0
    condition: ServiceCondition
    scale: int | None = None
    stopped: Hold | None = None
    paused: Hold | None = None
    maintenance: Hold | None = None
    notes: tuple[AnyNote, ...] = ()
    replicas: tuple[ReplicaRow, ...] = ()

    @property
    def count(self) -> str:
        """How many replicas are healthy out of those wanted, as text: `1/2`."""
        return f"{self.healthy}/{self.wanted}"

    def describe(self) -> str:
        """Return the condition in a few words, and what an operator set that the condition hides."""
        held = {
            ServiceCondition.STOPPED: self.stopped,
            ServiceCondition.MAINTENANCE: self.maintenance,
            ServiceCondition.PAUSED: self.paused,
        }
        hidden = [_HELD[one] for one, hold in held.items() if hold is not None and one is not self.condition]
        return ", ".join([self._describe_condition(), *hidden])

    def _describe_condition(self) -> str:
        match self.condition:
            case ServiceCondition.DAMAGED_STATE:
                return "damaged state"
            case ServiceCondition.UNDEFINED:
                return "not defined"
            case ServiceCondition.INVALID_DEFINITION:
                return "invalid definition"
            case ServiceCondition.NEVER_DEPLOYED:
                return "never deployed"
            case ServiceCondition.MISSING:
                return f"{self.wanted - self.running} missing"
            case ServiceCondition.SURPLUS:
                return f"{self.running - self.wanted} too many"
            case ServiceCondition.UNHEALTHY:
                return f"{self.healthy} of {self.running} healthy"
            case ServiceCondition.TRAFFIC_DOWN:
                kinds = {type(note) for note in self.notes}
                if notes.TrafficNotAnswering in kinds:
                    return "nginx is not responding"
                return (
                    "nginx does not use Conductor's files"
                    if notes.TrafficNotLoaded in kinds
                    else "nginx is not running"
                )
            case ServiceCondition.NEEDS_ATTENTION:
                failing = [note.problem for note in self.notes if isinstance(note, notes.FailingJobs)]
                return ": ".join(["needs attention", *failing])
            case ServiceCondition.MAINTENANCE if self.maintenance:
                return f"in maintenance since {time_text(self.maintenance.since)}, started by {self.maintenance.who}"
            case (
                ServiceCondition.MAINTENANCE | ServiceCondition.STOPPED | ServiceCondition.PAUSED | ServiceCondition.OK
            ):
                return self.condition.value


_HELD = {
    ServiceCondition.STOPPED: "stopped",
    ServiceCondition.MAINTENANCE: "in maintenance",
    ServiceCondition.PAUSED: "paused",
}


class ServiceList(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON document of `service list`."""

    version: int = VERSION
    services: tuple[ServiceRow, ...]


def table(rows: Sequence[ServiceRow]) -> list[tuple[str, ...]]:
    """Return the rows of the table of `service list`, with the names of its columns first."""
    head = ("SERVICE", "REVISION", "HEALTHY", "CONDITION")
    return [head, *((row.service, row.revision or "-", row.count, row.describe()) for row in rows)]


def document(rows: Sequence[ServiceRow]) -> dict[str, Any]:
    """Return the rows as the JSON document of `service list`."""
    found: dict[str, Any] = msgspec.to_builtins(ServiceList(services=tuple(rows)))
    return found
