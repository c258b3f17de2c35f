"""Requests during a repair: they follow the health of the old replicas while replacements start."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conductor.errors import ConductorError
from conductor.plan.backoff import SPACING_SECONDS
from conductor.plan.reconcile import Condition
from conductor.plan.transition import repair
from conductor.supervise.repair_traffic import following_health

HEALTHY, UNHEALTHY = (Condition.HEALTHY, ""), (Condition.UNHEALTHY, "status 500")


class Repairing:
    """`web` while its first replica is replaced. Requests go to the second one."""

    def __init__(self, host: Any) -> None:
        self.host = host
        self.first, self.second = host.replicas()
        self.conditions = {self.first.id: UNHEALTHY, self.second.id: HEALTHY}

    def until(self, *expected: Any) -> None:
        """Wait until requests go to these replicas."""
        self.wait_for(lambda: set(self.host.traffic.routes["web"]) == {one.endpoint for one in expected})

    def wait_for(self, condition: Callable[[], bool]) -> None:
        until = time.monotonic() + 5
        while not condition():
            assert time.monotonic() < until, self.host.traffic.routes
            time.sleep(0.01)


@pytest.fixture
def repairing(host: Any) -> Iterator[Repairing]:
    made = Repairing(host)
    result = host.observer.observe(runtime_restarted=False).observations["web"]
    transition = repair(
        result.wanted, host.definitions.services["web"], host.replicas(), keep={made.second.id}, count=2, change="c7",
        reason="",
    )  # fmt: skip
    serving = (made.second.endpoint,)
    with following_health(host.context(), transition, result, serving, lambda: made.conditions):
        made.until(made.second)
        yield made


def test_all_replicas_get_requests_at_once_when_the_other_one_fails_as_well(repairing: Repairing) -> None:
    repairing.conditions[repairing.second.id] = UNHEALTHY
    repairing.until(repairing.first, repairing.second)


def test_a_replica_that_has_exited_gets_no_requests(repairing: Repairing) -> None:
    del repairing.conditions[repairing.second.id]
    repairing.until(repairing.first)


def test_a_replica_that_is_healthy_again_gets_requests_after_the_spacing(repairing: Repairing) -> None:
    repairing.conditions[repairing.first.id] = HEALTHY
    time.sleep(0.6)  # two looks
    repairing.until(repairing.second)
    repairing.host.clock.advance(SPACING_SECONDS)
    repairing.until(repairing.first, repairing.second)


def test_after_a_failure_the_next_attempt_is_spaced(repairing: Repairing) -> None:
    host = repairing.host
    before = host.traffic.calls.count("switch")
    host.traffic.fail("switch", error=ConductorError("nginx rejects its configuration"))
    repairing.conditions[repairing.second.id] = UNHEALTHY
    repairing.wait_for(lambda: host.traffic.calls.count("switch") == before + 1)
    time.sleep(0.6)
    assert host.traffic.calls.count("switch") == before + 1
    host.clock.advance(SPACING_SECONDS)
    repairing.until(repairing.first, repairing.second)
