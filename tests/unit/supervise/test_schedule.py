"""When the next pass runs, on a simulated clock."""

import itertools

import pytest

from conductor.supervise.schedule import (
    BURST_PASSES,
    BURST_SECONDS,
    EVENT_SECONDS,
    PASS_SECONDS,
    REPEAT_SECONDS,
    PassScheduler,
)


def begun(now: float = 100.0) -> PassScheduler:
    scheduler = PassScheduler()
    assert scheduler.next <= 0
    scheduler.begin(now)
    return scheduler


def test_without_events() -> None:
    assert begun().next == 100.0 + PASS_SECONDS


def test_after_an_event() -> None:
    scheduler = begun()
    scheduler.request()
    assert scheduler.next == 100.0 + EVENT_SECONDS
    scheduler.begin(scheduler.next)
    assert scheduler.next == 101.0 + PASS_SECONDS


def test_after_an_exit_a_pass_runs_at_once_and_once_more() -> None:
    scheduler = begun()
    scheduler.request_now(100.5)
    assert scheduler.next == 100.5
    scheduler.begin(100.5)
    assert scheduler.next == 100.5 + REPEAT_SECONDS
    scheduler.begin(scheduler.next)
    assert scheduler.next == pytest.approx(100.5 + REPEAT_SECONDS + PASS_SECONDS)


def test_continuous_exits() -> None:
    """Passes keep their distance, are limited in number, and are never later than without exits."""
    scheduler, now, times = begun(), 100.0, [100.0]
    while now < 160.0:
        now += 0.02
        scheduler.request_now(now)
        if now >= scheduler.next:
            scheduler.begin(now)
            times.append(now)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    assert min(gaps) >= BURST_SECONDS
    assert max(gaps) <= EVENT_SECONDS + 0.03
    for first in times:
        within = sum(first <= time < first + PASS_SECONDS for time in times)
        assert within <= BURST_PASSES + PASS_SECONDS / EVENT_SECONDS
