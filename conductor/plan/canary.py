"""A canary: new replicas get a share of the requests for a while, and what decides whether they get all (pure)."""

import msgspec

from conductor.definitions.model import Canary

LEAST_REQUESTS = 100  # with fewer requests to the new replicas, their figures decide nothing
LEAST_SECONDS = 0.005  # nginx measures whole milliseconds: the difference of 1 and 2 is not twice the time


class Figures(msgspec.Struct, frozen=True):
    """What nginx counted for the old or the new replicas. `errors` are responses with status 500 or above.

    95% of the responses took at most `p95` seconds; None: there was none.
    """

    requests: int = 0
    errors: int = 0
    p95: float | None = None

    @property
    def error_percent(self) -> float:
        """The part of the requests that failed."""
        return 100 * self.errors / self.requests if self.requests else 0.0


class Comparison(msgspec.Struct, frozen=True):
    """The figures since the canary began."""

    old: Figures = Figures()
    new: Figures = Figures()


def failure(found: Comparison, canary: Canary) -> str | None:
    """Return why the new replicas must not get all requests; None while nothing is against it."""
    old, new = found.old, found.new
    if new.requests < LEAST_REQUESTS:
        return None
    if new.error_percent > canary.max_errors and new.error_percent > old.error_percent:
        return (
            f"{_errors(new)} to the new replicas failed, compared with {_errors(old)} to the old replicas; "
            f"at most {canary.max_errors.text} may fail"
        )
    base = max(old.p95 or 0.0, LEAST_SECONDS)
    if new.p95 and old.p95 and new.p95 > canary.max_latency * base:
        return (
            f"the 95th percentile of {new.requests} response times of the new replicas is {_milliseconds(new.p95)}, and that of "
            f"the old replicas is {_milliseconds(old.p95)}; the limit is {canary.max_latency:g} times {_milliseconds(base)}"
        )
    return None


def _errors(figures: Figures) -> str:
    return f"{figures.errors} of {figures.requests} requests ({figures.error_percent:.1f}%)"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f}ms"
