"""When a container is healthy, and how its attempts are summed up."""

import pytest

from conductor.definitions.model import Health
from conductor.definitions.scalars import Seconds
from conductor.plan.health_rules import FAST_INTERVAL_SECONDS, interval, streak, summary
from conductor.plan.values import Attempt


def attempts(pattern: str) -> list[Attempt]:
    kinds = {
        "S": Attempt(ok=True, seconds=0.0, status=200),
        "F": Attempt(ok=False, seconds=0.0, status=500, head="no database"),
        "R": Attempt(ok=False, seconds=0.0, error="connection refused"),
    }
    return [kinds[letter] for letter in pattern]


@pytest.mark.parametrize(("pattern", "passed"), [("", 0), ("S", 1), ("FSS", 2), ("SSF", 0), ("SSFS", 1)])
def test_only_passes_in_a_row_count(pattern, passed):
    assert streak(attempts(pattern)) == passed


@pytest.mark.parametrize(
    ("pattern", "lines"),
    [
        ("", []),
        ("R", ["connection refused"]),
        ("RRRFF", ["connection refused (×3)", "status 500 'no database' (×2)"]),
        ("FSRF", ["status 200", "connection refused", "status 500 'no database' (×2)"]),
    ],
)
def test_summary_is_what_came_last_counted(pattern, lines):
    assert summary(attempts(pattern)) == lines


def test_polls_fast_at_first_then_as_defined():
    health = Health(path="/", gate_interval=Seconds(0.5))
    assert interval(health, 1.0) == FAST_INTERVAL_SECONDS
    assert interval(health, 6.0) == 0.5
    assert interval(Health(path="/", gate_interval=Seconds(0.02)), 0.0) == 0.02
