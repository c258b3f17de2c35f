"""The retry state of each service while `supervise` runs, continued from the status of the previous `supervise`."""

from collections.abc import Mapping

import msgspec

from conductor.clock import Clock
from conductor.plan.backoff import Attempts, RetryState
from conductor.plan.reconcile import Action, Observation, Recover, Reroute, attempted, updated
from conductor.state.supervisor_status import ServiceStatus
from conductor.supervise.actions import ActionEnd


class Retries:
    """`states` are the retry states by service. One thread at a time changes the state of a service."""

    def __init__(self, clock: Clock, previous: Mapping[str, ServiceStatus]) -> None:
        self._clock = clock
        self._previous = previous
        self.states: dict[str, RetryState] = {}

    def update(self, observation: Observation) -> RetryState:
        """Return the state as of this pass."""
        service = observation.wanted.service
        state = self.states.get(service) or self._first(observation)
        state = self.states[service] = updated(state, observation, self._clock.monotonic())
        return state

    def _first(self, observation: Observation) -> RetryState:
        """Return the state after a start of `supervise`: the latest action is known from its status and from containers."""
        change = observation.wanted.change
        status = self._previous.get(observation.wanted.service)
        acted = [one.replica.created for one in observation.replicas if one.replica.created]
        acted += [self._clock.seconds(status.last_attempt)] if status is not None and status.last_attempt else []
        last = self._clock.monotonic() - max(0.0, self._clock.wall() - max(acted)) if acted else None
        count = status.attempts if status is not None and status.change == change else 0
        return RetryState(change=change, repair=Attempts(count, last))

    def begin(self, service: str, action: Action, change: str) -> RetryState:
        """Record an action before it begins, because `supervise` may be killed during it; return the state before."""
        before = self.states[service]
        repair = before.repair
        if not isinstance(action, Recover | Reroute):
            repair = Attempts(repair.count, self._clock.monotonic())
        self.states[service] = msgspec.structs.replace(before, repair=repair, own_change=change)
        return before

    def end(self, service: str, action: Action, end: ActionEnd, before: RetryState) -> None:
        """Record how an action ended. `before` is the state before it began."""
        state = self.states[service]
        if end is ActionEnd.SKIPPED:
            self.states[service] = msgspec.structs.replace(
                state, repair=Attempts(state.repair.count, before.repair.last)
            )
        else:
            failed = end is ActionEnd.FAILED
            self.states[service] = attempted(state, action, self._clock.monotonic(), failed=failed)
