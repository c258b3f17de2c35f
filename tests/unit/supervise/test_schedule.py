"""When to look next, on a clock of its own."""

import itertools

import pytest

from conductor.supervise.schedule import (
    AGAIN_SECONDS,
    CALM_SECONDS,
    CLOSE_LOOKS,
    CLOSE_SECONDS,
    PASS_SECONDS,
    PassScheduler,
)


def begun(now: float = 100.0) -> PassScheduler:
    pace = PassScheduler()
    assert pace.next <= 0
    pace.looks(now)
    return pace


def test_nothing_happens():
    assert begun().next == 100.0 + PASS_SECONDS


def test_something_happens():
    pace = begun()
    pace.wake()
    assert pace.next == 100.0 + CALM_SECONDS
    pace.looks(pace.next)
    assert pace.next == 101.0 + PASS_SECONDS


def test_something_dies():
    """Looked at at once, and once more."""
    pace = begun()
    pace.urge(100.5)
    assert pace.next == 100.5
    pace.looks(100.5)
    assert pace.next == 100.5 + AGAIN_SECONDS
    pace.looks(pace.next)
    assert pace.next == pytest.approx(100.5 + AGAIN_SECONDS + PASS_SECONDS)


def test_something_dies_all_the_time():
    """Never closer than so, never more than so many within a pass, and never longer without a look than when it is calm."""
    pace, now, moments = begun(), 100.0, [100.0]
    while now < 160.0:
        now += 0.02
        pace.urge(now)
        if now >= pace.next:
            pace.looks(now)
            moments.append(now)
    gaps = [b - a for a, b in itertools.pairwise(moments)]
    assert min(gaps) >= CLOSE_SECONDS
    assert max(gaps) <= CALM_SECONDS + 0.03
    for first in moments:
        within = sum(first <= moment < first + PASS_SECONDS for moment in moments)
        assert within <= CLOSE_LOOKS + PASS_SECONDS / CALM_SECONDS
