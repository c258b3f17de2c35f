"""When a new container counts as healthy, and when to ask it again (pure)."""

from collections import Counter

from conductor.definitions.model import Health
from conductor.plan.values import Attempt

# Most apps are up within seconds: asking often makes the upgrade that much shorter. Through the daemon it costs a process.
FAST_INTERVAL_SECONDS = 0.02
DAEMON_INTERVAL_SECONDS = 0.2
FAST_SECONDS = 5.0


def interval(health: Health, elapsed: float) -> float:
    """Seconds until the next check of a container that has been up for `elapsed`."""
    fast = FAST_INTERVAL_SECONDS if health.path or health.tcp else DAEMON_INTERVAL_SECONDS
    return min(fast, health.gate_interval) if elapsed < FAST_SECONDS else health.gate_interval


def budget(health: Health) -> float:
    """Seconds a container has to become healthy."""
    return max(health.start_timeout, health.stable_for * 2) if health.none else health.start_timeout


def passed(health: Health, attempts: list[Attempt], elapsed: float) -> bool:
    """Enough checks in a row; with `health: none`, having run for `stable_for`."""
    if health.none:
        return attempts[-1].ok and elapsed >= health.stable_for
    return streak(attempts) >= health.successes


def wording(health: Health) -> str:
    """What a container has to do, in words."""
    if health.none:
        return f"runs for {health.stable_for:g}s without an exit"
    what = health.path or ("a TCP connection" if health.tcp else " ".join(health.command or ()))
    return f"{health.successes} checks in a row of {what}"


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
