"""When a new container counts as healthy, and when to ask it again (pure)."""

from collections import Counter

from conductor.definitions.model import Health
from conductor.plan.values import Attempt

FAST_INTERVAL_SECONDS = (
    0.05  # most apps are up within seconds: asking often makes the upgrade that much shorter
)
FAST_SECONDS = 5.0


def interval(health: Health, elapsed: float) -> float:
    """Seconds until the next check of a container that has been up for `elapsed`."""
    return (
        min(FAST_INTERVAL_SECONDS, health.gate_interval) if elapsed < FAST_SECONDS else health.gate_interval
    )


def streak(attempts: list[Attempt]) -> int:
    """How many checks in a row have passed, counted from the last."""
    passed = 0
    for attempt in reversed(attempts):
        if not attempt.ok:
            break
        passed += 1
    return passed


def summary(attempts: list[Attempt], most: int = 3) -> list[str]:
    """The last kinds of answer, newest last, equal ones counted: what an operator wants to read first."""
    counts = Counter(str(a) for a in attempts)
    last = list(dict.fromkeys(str(a) for a in reversed(attempts)))[:most]
    return [f"{text} (×{counts[text]})" if counts[text] > 1 else text for text in reversed(last)]
