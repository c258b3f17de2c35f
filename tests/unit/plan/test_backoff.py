"""When the next attempt is due."""

import pytest

from conductor.plan.backoff import DELAYS_SECONDS, JITTER, SPACING_SECONDS, Attempts


def test_the_first_attempt_is_due_at_once() -> None:
    assert Attempts().due(1.0) == 0.0


@pytest.mark.parametrize(("count", "seconds"), [(0, 5), (1, 5), (2, 10), (3, 20), (4, 40), (5, 60), (6, 60), (99, 60)])
def test_delays_grow_up_to_the_last_one(count: int, seconds: float) -> None:
    assert Attempts(count, 100.0).due(0.0) == 100.0 + seconds


def test_jitter_only_makes_delays_longer() -> None:
    assert Attempts(9, 100.0).due(1.0) == 100.0 + DELAYS_SECONDS[-1] * (1 + JITTER)


def test_an_attempt_is_counted_and_a_reset_keeps_the_spacing() -> None:
    after = Attempts(2, 50.0).after(100.0)
    assert after == Attempts(3, 100.0)
    assert after.after(110.0, counts=False) == Attempts(3, 110.0)
    assert after.reset().due(0.0) == after.spaced_until == 100.0 + SPACING_SECONDS
