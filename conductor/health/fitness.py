"""Finds the running replicas that are not fit to serve, because they fail their check now."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from conductor.definitions.model import Health
from conductor.health.check import HealthChecker
from conductor.plan.replica import Replica

CHECKS_AT_ONCE = 16


def unfit(checker: HealthChecker, health: Health | None, replicas: Sequence[Replica]) -> frozenset[str]:
    """Return the ids of the running replicas that fail one check now. A check that cannot be made is not a failure."""
    running = [one for one in replicas if one.running]
    if health is None or not running:
        return frozenset()
    with ThreadPoolExecutor(CHECKS_AT_ONCE) as pool:
        results = list(pool.map(lambda one: checker.check(one, health, str), running))
    return frozenset(one.id for one, result in zip(running, results, strict=True) if not (result.ok or result.unknown))
