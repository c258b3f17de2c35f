"""When a new replica is healthy, and when to check it again (pure)."""

from collections import Counter
from collections.abc import Sequence

from conductor.definitions.grammar import status_range
from conductor.definitions.model import Health
from conductor.plan.replica import CheckResult, Replica
from conductor.times import duration_text

# Most apps start within seconds: frequent checks make the upgrade shorter. A check through the daemon costs a process.
FAST_INTERVAL_SECONDS = 0.02
DAEMON_INTERVAL_SECONDS = 0.2
ANSWERED_INTERVAL_SECONDS = 0.1  # after a failing answer, so that the checks do not fill the app's log
FAST_SECONDS = 5.0


def endpoint(replica: Replica, health: Health) -> str | None:
    """Return the `IP:PORT` that a check over the network connects to; None when the replica has no port to check."""
    if health.port is None or not replica.address:
        return replica.endpoint
    return f"{replica.address.partition(':')[0]}:{health.port}"


def accepts(health: Health, status: int) -> bool:
    """True when a response with this HTTP status is healthy."""
    return any(first <= status <= last for first, last in map(status_range, health.status))


def interval(health: Health, elapsed: float, last: CheckResult) -> float:
    """Return the seconds until the next check of a replica that started `elapsed` seconds ago. `last` is its last result."""
    fast = FAST_INTERVAL_SECONDS if health.path or health.tcp else DAEMON_INTERVAL_SECONDS
    if last.status is not None and not last.ok:
        fast = max(fast, ANSWERED_INTERVAL_SECONDS)
    return min(fast, health.gate_interval) if elapsed < FAST_SECONDS else health.gate_interval


def start_timeout(health: Health) -> float:
    """Return the seconds that a replica has to become healthy."""
    return max(health.start_timeout, health.stable_for * 2) if health.none else health.start_timeout


def passed(health: Health, results: Sequence[CheckResult], elapsed: float) -> bool:
    """True after enough successful checks in a row; for `health: none`, after running for `stable_for`."""
    if health.none:
        return results[-1].ok and elapsed >= health.stable_for
    return streak(results) >= health.successes


def requirement(health: Health) -> str:
    """Return what each replica has to do, for people."""
    if health.none:
        return f"each replica must run for {duration_text(health.stable_for)} without exiting"
    check = health.path or ("a TCP connection" if health.tcp else " ".join(health.command or ()))
    number = "1 check" if health.successes == 1 else f"{health.successes} checks in a row"
    return f"each replica must pass {number} ({check})"


def streak(results: Sequence[CheckResult]) -> int:
    """Return how many of the last checks succeeded in a row."""
    count = 0
    for result in reversed(results):
        if not result.ok:
            break
        count += 1
    return count


def summary(results: Sequence[CheckResult], most: int = 3) -> list[str]:
    """Return the last different answers, newest last, with how often each one came."""
    counts = Counter(str(one) for one in results)
    last = list(dict.fromkeys(str(one) for one in reversed(results)))[:most]
    return [f"{text} (×{counts[text]})" if counts[text] > 1 else text for text in reversed(last)]
