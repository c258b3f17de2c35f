"""Notifications: the document, which outcome of a change is which event, and which conditions of a service hold (pure)."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from conductor.definitions.host import NotifyEvent
from conductor.plan.backoff import RetryState
from conductor.plan.history import HistoryAction, HistoryEntry, Outcome
from conductor.plan.journal import MAINTENANCE
from conductor.plan.reason import InterruptedChange, Mismatch, StoppedWithHost
from conductor.plan.reconcile import Condition, Decision, Leave, Observation

HEALED_SECONDS = 300.0  # a service that is unhealthy again sooner was not healed, so that flapping sends nothing
BACKING_OFF_ATTEMPTS = 2  # failed repairs, or repairs that did not last; one repair is normal

OUTCOMES: Mapping[Outcome, NotifyEvent] = {
    Outcome.DONE: "succeeded",
    Outcome.RECOVERED: "succeeded",
    Outcome.REFUSED: "failed",
    Outcome.ROLLED_BACK: "failed",
    Outcome.INTERRUPTED: "interrupted",
    Outcome.RECOVERED_ROLLED_BACK: "interrupted",
}
# A repair is part of `unhealthy`, `backing-off` and `healed`.
CHANGES: frozenset[HistoryAction] = frozenset(
    {"upgrade", "rollback", "restart", "start", "stop", "scale", *MAINTENANCE}
)

ReportableCondition = Literal["unhealthy", "backing-off"]


class Notification(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The document that a command and a webhook receive. A value that does not apply is None.

    `when` is RFC 3339 in UTC, `duration` is in seconds: of the change, or from `unhealthy` to `healed`. `from` and `to` are
    revisions. `wanted` and `healthy` are numbers of replicas. The other values are those of the history entry.
    """

    version: int = 1
    event: NotifyEvent | Literal["test"]
    host: str
    service: str | None
    when: str
    who: str | None = None
    action: HistoryAction | None = None
    change: str | None = None
    from_: str | None = None
    to: str | None = None
    outcome: Outcome | None = None
    duration: float | None = None
    reason: str | None = None
    wanted: int | None = None
    healthy: int | None = None


class DeliveryFailure(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries about one service that failed in a row: how many, when the latest one ended, and why it failed."""

    failures: int
    at: str
    problem: str
    version: int = 1


class Reported(msgspec.Struct, frozen=True, kw_only=True):
    """A reported condition: since when it holds (RFC 3339, UTC), and the boot of the host in which it was last reported."""

    since: str
    boot: str


def of_change(entry: HistoryEntry, host: str, duration: float | None) -> Notification | None:
    """Return the notification about a history entry; None if it is not the end of a change."""
    event = OUTCOMES.get(entry.outcome)
    if event is None or entry.action not in CHANGES:
        return None
    return Notification(
        event=event, host=host, service=entry.service, when=entry.at, who=entry.who or None, action=entry.action,
        change=entry.change or None, from_=entry.from_, to=entry.to, outcome=entry.outcome, duration=duration,
        reason=entry.reason or None,
    )  # fmt: skip


def is_unhealthy(observation: Observation) -> bool:
    """True when a replica has exited or is unhealthy, and the others are too few.

    Missing replicas do not count: an operator removed them or raised the count. Neither do replicas that stopped with the
    host or with Docker: they are started again first.
    """
    failed = observation.live(Condition.UNHEALTHY, Condition.EXITED)
    others = observation.live(Condition.HEALTHY, Condition.STARTING)
    return bool(failed) and len(others) < observation.count and not observation.runtime_restarted


def attempts(decision: Decision, state: RetryState) -> int:
    """Return the number of failed attempts of the action that `supervise` will retry; 0 if it will retry none."""
    match decision:
        case Leave(reason=InterruptedChange(), until=float()):
            return state.recover.count
        case Leave(reason=Mismatch() | StoppedWithHost(), until=float()):
            return state.repair.count
        case _:
            return 0


def is_healed(observation: Observation, state: RetryState, now: float) -> bool:
    """True once the wanted number of replicas has been healthy for `HEALED_SECONDS`. `now` is monotonic."""
    since = state.healthy_since
    return observation.is_healthy and since is not None and now - since >= HEALED_SECONDS
