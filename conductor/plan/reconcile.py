"""What `supervise` does about one service, decided from what is wanted, what one pass observed, and earlier attempts (pure).

It is level-triggered: only the latest attempts are remembered, so a pass that is missed or made twice changes nothing.
"""

from enum import StrEnum
from typing import ClassVar, Literal

import msgspec

from conductor.definitions.model import Definition
from conductor.plan.backoff import RESET_SECONDS, SPACING_SECONDS, Attempts, RetryState
from conductor.plan.reason import (
    AnyReason,
    AsWanted,
    Drifted,
    InterruptedChange,
    Mismatch,
    NeverDeployed,
    Paused,
    Starting,
    StoppedWithHost,
    WrongTraffic,
)
from conductor.plan.release import Hold, Wanted
from conductor.plan.replica import Replica


class Condition(StrEnum):
    """The condition of one replica. `STARTING` is within its start timeout."""

    HEALTHY = "healthy"
    STARTING = "starting"
    UNHEALTHY = "unhealthy"
    EXITED = "exited"


class ReplicaHealth(msgspec.Struct, frozen=True):
    """A replica and its condition."""

    replica: Replica
    condition: Condition


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass saw of a service.

    `exit_codes`, by container, are those that an event has reported. `count` is the wanted number of replicas. `serving` are the endpoints that requests go to (None: not routed). `interrupted`:
    the journal has a change that no process carries out. `paused` is the pause that is in force. `runtime_restarted`: a
    restart of the host or of Docker may have stopped the exited replicas. `drift` is a changed definition to apply.
    """

    wanted: Wanted
    replicas: tuple[ReplicaHealth, ...]
    count: int
    exit_codes: dict[str, int] = {}
    serving: frozenset[str] | None = None
    interrupted: bool = False
    paused: Hold | None = None
    runtime_restarted: bool = False
    drift: Definition | None = None

    def live(self, *conditions: Condition) -> tuple[Replica, ...]:
        """Return the replicas of the live release in one of these conditions, in the order of the conditions."""
        release = self.wanted.release.id if self.wanted.release else None
        return tuple(
            one.replica
            for condition in conditions
            for one in self.replicas
            if one.condition == condition and one.replica.release == release
        )

    @property
    def is_healthy(self) -> bool:
        """True when the wanted number is healthy. Replicas that only have to be removed do not matter."""
        return not self.interrupted and len(self.live(Condition.HEALTHY)) == self.count


class Leave(msgspec.Struct, frozen=True):
    """Do nothing. `until` is when an action is due; None when none is needed."""

    reason: AnyReason
    until: float | None = None


class Recover(msgspec.Struct, frozen=True):
    """Finish or roll back an interrupted change."""

    name: ClassVar[Literal["recover"]] = "recover"

    @property
    def reason(self) -> InterruptedChange:
        """Why."""
        return InterruptedChange()


class Start(msgspec.Struct, frozen=True):
    """Start exited replicas again in place, because a restart of the host or of Docker stopped them."""

    name: ClassVar[Literal["restart-exited"]] = "restart-exited"

    replicas: tuple[Replica, ...]

    @property
    def reason(self) -> StoppedWithHost:
        """Why."""
        return StoppedWithHost(len(self.replicas))


class Reroute(msgspec.Struct, frozen=True):
    """Send requests to exactly these endpoints."""

    name: ClassVar[Literal["reroute"]] = "reroute"

    endpoints: tuple[str, ...]

    @property
    def reason(self) -> WrongTraffic:
        """Why."""
        return WrongTraffic(self.endpoints)


class Repair(msgspec.Struct, frozen=True, kw_only=True):
    """Keep some replicas, start what is missing of `count`, and remove all others.

    Until the new ones are healthy, requests go to `serving`, unless it is empty.
    """

    name: ClassVar[Literal["repair"]] = "repair"

    keep: tuple[Replica, ...]
    count: int
    reason: Mismatch
    serving: tuple[str, ...] = ()

    @property
    def starts(self) -> bool:
        """True when replicas are started, False when some are only removed."""
        return self.count > len(self.keep)


class ApplyDrift(msgspec.Struct, frozen=True):
    """Replace all replicas by ones of the live revision with this definition."""

    name: ClassVar[Literal["apply-drift"]] = "apply-drift"

    definition: Definition

    @property
    def reason(self) -> Drifted:
        """Why."""
        return Drifted()


Action = Recover | Start | Reroute | Repair | ApplyDrift
Decision = Leave | Action


def updated(state: RetryState, observation: Observation, now: float) -> RetryState:
    """Return the retry state as of this pass. A commit of a command resets the delays, and so does a healthy service."""
    change = observation.wanted.change
    repair = state.repair if change in {state.change, state.own_change} else state.repair.reset()
    healthy_since = None
    if observation.is_healthy:
        healthy_since = now if state.healthy_since is None else state.healthy_since
        repair = repair.reset() if now - healthy_since >= RESET_SECONDS else repair
    return msgspec.structs.replace(
        state,
        change=change,
        healthy_since=healthy_since,
        repair=repair,
        remove=state.remove.reset() if state.remove.count and _repair(observation) is None else state.remove,
        recover=state.recover if observation.interrupted else Attempts(),
        apply_drift=state.apply_drift if observation.drift == state.drift else state.apply_drift.reset(),
        drift=observation.drift,
    )


def attempted(state: RetryState, action: Action, now: float, *, failed: bool) -> RetryState:
    """Return the retry state after an attempt that ended `now`."""
    match action:
        case Recover():
            return msgspec.structs.replace(state, recover=state.recover.after(now))
        case Reroute():
            before = state.reroute if failed else Attempts()
            return msgspec.structs.replace(state, reroute=before.after(now, counts=failed))
        case ApplyDrift():
            return msgspec.structs.replace(state, apply_drift=state.apply_drift.after(now), healthy_since=None)
        case Repair(starts=False):
            return msgspec.structs.replace(state, remove=state.remove.after(now))
        case _:
            counts = failed or isinstance(
                action, Repair
            )  # a restart of the host or of Docker is not a failure of the service
            return msgspec.structs.replace(state, repair=state.repair.after(now, counts=counts), healthy_since=None)


def decide(observation: Observation, state: RetryState, now: float, jitter: float) -> Decision:
    """Return what to do now. `jitter` is a random number from 0 to 1."""
    if observation.paused is not None:
        return Leave(Paused(observation.paused))
    if observation.interrupted:
        due = state.recover.due(jitter)
        return Recover() if now >= due else Leave(InterruptedChange(), due)
    if observation.wanted.release is None:
        return Leave(NeverDeployed())
    due = max(state.repair.due(jitter), state.spaced_until)
    if stopped := _stopped_with_host(observation):
        start = Start(stopped)
        return start if now >= due else Leave(start.reason, due)
    repair = _repair(observation)
    if repair is not None and not repair.starts:
        due = max(state.remove.due(jitter), state.spaced_until)
    drift_due = max(state.apply_drift.due(jitter), state.spaced_until)
    return _choose(observation, state, now, repair=repair, repair_due=due, drift_due=drift_due)


def _choose(
    observation: Observation,
    state: RetryState,
    now: float,
    *,
    repair: Repair | None,
    repair_due: float,
    drift_due: float,
) -> Decision:
    """Return the first action that is due, or `Leave` with what to wait for."""
    traffic = reroute(observation)
    # A failed repair does not delay the new definition, which may fix the failure.
    if observation.drift is not None and (repair is None or state.repair.count) and now >= drift_due:
        return ApplyDrift(observation.drift)
    if repair is not None and now >= repair_due:
        return msgspec.structs.replace(repair, serving=traffic.endpoints) if traffic else repair
    reroute_due = _reroute_due(state, observation, traffic) if traffic else 0.0
    if traffic is not None and now >= reroute_due:
        return traffic
    if repair is not None:
        return Leave(repair.reason, repair_due)
    if traffic is not None:
        return Leave(traffic.reason, reroute_due)
    if observation.drift is not None:
        return Leave(Drifted(), drift_due)
    return Leave(AsWanted() if observation.is_healthy else Starting())


def is_urgent(traffic: Reroute, observation: Observation) -> bool:
    """True when requests have to be rerouted at once: an unhealthy replica loses traffic, and gets it back when all are
    unhealthy. A replica that is healthy again can wait."""
    removes = set(traffic.endpoints) < (observation.serving or frozenset())
    return removes or not observation.live(Condition.HEALTHY)


def _reroute_due(state: RetryState, observation: Observation, traffic: Reroute) -> float:
    """Return when requests may be rerouted. A reroute that is not urgent, or that failed before, waits."""
    if state.reroute.last is None or (is_urgent(traffic, observation) and not state.reroute.count):
        return 0.0
    return state.reroute.last + SPACING_SECONDS


def _stopped_with_host(observation: Observation) -> tuple[Replica, ...]:
    if not observation.runtime_restarted:
        return ()
    running = observation.live(Condition.HEALTHY, Condition.STARTING, Condition.UNHEALTHY)
    return observation.live(Condition.EXITED)[: max(0, observation.count - len(running))]


def reroute(observation: Observation) -> Reroute | None:
    """Return where requests should go; None when they already do.

    Healthy replicas get the requests. When there is none, the unhealthy ones and the starting ones that have traffic already;
    when there is none of these either, all that are starting.
    """
    if observation.serving is None or observation.count == 0:
        return None
    healthy, starting = observation.live(Condition.HEALTHY), observation.live(Condition.STARTING)
    known = [one for one in starting if one.endpoint in observation.serving]
    others = [*known, *observation.live(Condition.UNHEALTHY)] or list(starting)
    chosen = ([*healthy, *known] if healthy else others)[: observation.count]
    endpoints = tuple(one.endpoint for one in chosen if one.endpoint is not None)
    return Reroute(endpoints) if endpoints and set(endpoints) != observation.serving else None


def _repair(observation: Observation) -> Repair | None:
    """Return the repair that the service needs.

    When all replicas are unhealthy they are replaced one at a time: a shared cause must not empty the service. Starting
    replicas without traffic are waited for, because one that is kept would get traffic now.
    """
    well, unhealthy = observation.live(Condition.HEALTHY, Condition.STARTING), observation.live(Condition.UNHEALTHY)
    keep = (well or unhealthy[1:])[: observation.count]
    if len(keep) == observation.count and len(observation.replicas) == len(keep):
        return None
    joining = {one.endpoint for one in observation.live(Condition.STARTING) if one in keep and one.endpoint}
    if observation.serving is not None and not joining <= observation.serving:
        return None
    return Repair(keep=keep, count=observation.count, reason=mismatch(observation))


def mismatch(observation: Observation) -> Mismatch:
    """Return how the replicas differ from what is wanted."""
    conditions = (Condition.HEALTHY, Condition.STARTING, Condition.UNHEALTHY, Condition.EXITED)
    healthy, starting, unhealthy, exited = (len(observation.live(one)) for one in conditions)
    return Mismatch(
        wanted=observation.count,
        healthy=healthy,
        starting=starting,
        unhealthy=unhealthy,
        exited=exited,
        other_release=len(observation.replicas) - healthy - starting - unhealthy - exited,
    )
