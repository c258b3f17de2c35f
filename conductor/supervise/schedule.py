"""When the next pass runs: soon after a replica exited, and in any case every few seconds (pure)."""

from collections import deque
from math import inf

PASS_SECONDS = 5.0  # the longest time between two passes
# After an exit a pass runs at once, and another one `REPEAT_SECONDS` later, because the list of the runtime may be late. Such
# passes are at least `BURST_SECONDS` apart, and there are at most `BURST_PASSES` of them in `PASS_SECONDS`. All other passes are
# at least `EVENT_SECONDS` apart.
REPEAT_SECONDS = 0.15
BURST_SECONDS, BURST_PASSES, EVENT_SECONDS = 0.1, 12, 1.0


class PassScheduler:
    """Computes the time of the next pass, in seconds of one clock. Any thread may call `request` and `request_now`."""

    def __init__(self) -> None:
        self._passes = deque([-inf], BURST_PASSES)  # when the latest ones began
        self._requested = False
        self._urgent = self._repeat = inf

    def request(self) -> None:
        """Run a pass within `EVENT_SECONDS`."""
        self._requested = True

    def request_now(self, now: float) -> None:
        """Run a pass now, unless that is too often."""
        self._urgent = now

    @property
    def next(self) -> float:
        """The time of the next pass."""
        last, urgent = self._passes[-1], min(self._urgent, self._repeat)
        at = last + (EVENT_SECONDS if self._requested or urgent < inf else PASS_SECONDS)
        return min(at, max(urgent, last + BURST_SECONDS, self._passes[0] + PASS_SECONDS))

    def begin(self, now: float) -> None:
        """Record that a pass begins; an urgent one is repeated."""
        urgent, self._requested, self._urgent = self._urgent < inf, False, inf
        self._repeat = now + REPEAT_SECONDS if urgent and self._repeat == inf else inf
        self._passes.append(now)
