"""When `supervise` looks next: soon after what has died, and in any case every few seconds (pure; it is told the time)."""

from collections import deque
from math import inf

PASS_SECONDS = 5.0  # the longest pause between two looks
# What has died is looked at soon, and once more. So many looks may follow one another closely within a pass; then they
# are a second apart, as after all else that happens.
AGAIN_SECONDS = 0.15
CLOSE_SECONDS, CLOSE_LOOKS, CALM_SECONDS = 0.1, 12, 1.0


class PassScheduler:
    """Seconds of one clock. `wake` and `urge` may be called by any thread."""

    def __init__(self) -> None:
        self._looks = deque([-inf], CLOSE_LOOKS)
        self._woken = False
        self._urgent = self._again = inf

    def wake(self) -> None:
        """Look within a second."""
        self._woken = True

    def urge(self, now: float) -> None:
        """Look now, if that is not too often."""
        self._urgent = now

    @property
    def next(self) -> float:
        """The moment of the next look."""
        last, urgent = self._looks[-1], min(self._urgent, self._again)
        at = last + (CALM_SECONDS if self._woken or urgent < inf else PASS_SECONDS)
        return min(at, max(urgent, last + CLOSE_SECONDS, self._looks[0] + PASS_SECONDS))

    def looks(self, now: float) -> None:
        """One begins; after an urgent one comes another, lest the daemon's list was late."""
        urgent, self._woken, self._urgent = self._urgent < inf, False, inf
        self._again = now + AGAIN_SECONDS if urgent and self._again == inf else inf
        self._looks.append(now)
