"""When `supervise` may act on a service again: attempts per kind of action, and the delays between them (pure).

Times are seconds of one monotonic clock.
"""

import msgspec

from conductor.definitions.model import Definition

SPACING_SECONDS = 5.0  # between two corrective actions on one service
DELAYS_SECONDS = (
    0.0,
    5.0,
    10.0,
    20.0,
    40.0,
    60.0,
)  # by the number of attempts; the last one applies to all further ones
RESET_SECONDS = 60.0  # a service that is healthy for this long starts with the first delay again
JITTER = 0.1  # at most this fraction is added to a delay, so that services that fail together are not retried together


class Attempts(msgspec.Struct, frozen=True):
    """How often one kind of action was attempted since its last reset, and when the latest attempt ended (None: never)."""

    count: int = 0
    last: float | None = None

    def due(self, jitter: float) -> float:
        """Return when the next attempt may begin. `jitter` is a number from 0 to 1."""
        if self.last is None:
            return 0.0
        delay = max(SPACING_SECONDS, DELAYS_SECONDS[min(self.count, len(DELAYS_SECONDS) - 1)])
        return self.last + delay * (1 + JITTER * jitter)

    @property
    def spaced_until(self) -> float:
        """Return when another kind of action may begin."""
        return 0.0 if self.last is None else self.last + SPACING_SECONDS

    def after(self, now: float, *, counts: bool = True) -> "Attempts":
        """Return the attempts after one that ended `now`."""
        return Attempts(self.count + counts, now)

    def reset(self) -> "Attempts":
        """Return the attempts with the first delay again. The spacing after the latest attempt stays."""
        return Attempts(0, self.last)


class RetryState(msgspec.Struct, frozen=True, kw_only=True):
    """What `supervise` attempted on one service.

    `change` is the latest committed change, `own_change` the one that the latest attempt may commit. `healthy_since` is None
    while the service differs from what is wanted. `drift` is the definition that `apply_drift` counts attempts for;
    `reroute` counts failures in a row. `remove` is for repairs that only remove replicas.
    """

    change: str = ""
    own_change: str = ""
    healthy_since: float | None = None
    repair: Attempts = Attempts()
    remove: Attempts = Attempts()
    recover: Attempts = Attempts()
    apply_drift: Attempts = Attempts()
    reroute: Attempts = Attempts()
    drift: Definition | None = None

    def is_healthy_again(self, now: float) -> bool:
        """Return whether the service has been healthy for `RESET_SECONDS`."""
        return self.healthy_since is not None and now - self.healthy_since >= RESET_SECONDS

    @property
    def spaced_until(self) -> float:
        """Return when the next action that starts or removes replicas may begin at the earliest."""
        return max(self.repair.spaced_until, self.apply_drift.spaced_until, self.remove.spaced_until)
