"""When a replica is healthy, when it is checked again, and how its results are summarized."""

import pytest

from conductor.definitions.model import Health
from conductor.definitions.scalars import Period
from conductor.plan.health_rules import (
    ANSWERED_INTERVAL_SECONDS,
    DAEMON_INTERVAL_SECONDS,
    FAST_INTERVAL_SECONDS,
    interval,
    passed,
    requirement,
    start_timeout,
    streak,
    summary,
)
from conductor.plan.replica import CheckResult

RESULTS = {
    "S": CheckResult(ok=True, seconds=0.0, status=200),
    "F": CheckResult(ok=False, seconds=0.0, status=500, output="no database"),
    "R": CheckResult(ok=False, seconds=0.0, error="connection refused"),
}
NONE = Health(none=True, stable_for=Period(10.0))


def results(pattern: str) -> list[CheckResult]:
    """Return one result for each letter: success, failure, refused."""
    return [RESULTS[letter] for letter in pattern]


@pytest.mark.parametrize(("pattern", "count"), [("", 0), ("S", 1), ("FSS", 2), ("SSF", 0), ("SSFS", 1)])
def test_only_successes_in_a_row_count(pattern: str, count: int) -> None:
    assert streak(results(pattern)) == count


@pytest.mark.parametrize(
    ("health", "pattern", "elapsed", "expected"),
    [
        (Health(path="/", successes=2), "SFS", 1.0, False),
        (Health(path="/", successes=2), "FSS", 1.0, True),
        (NONE, "S", 9.9, False),
        (NONE, "S", 10.0, True),
        (NONE, "SF", 10.0, False),
    ],
)
def test_a_replica_passes(health: Health, pattern: str, elapsed: float, expected: bool) -> None:
    assert passed(health, results(pattern), elapsed) is expected


@pytest.mark.parametrize(
    ("pattern", "lines"),
    [
        ("", []),
        ("R", ["connection refused"]),
        ("RRRFF", ["connection refused (×3)", "status 500 'no database' (×2)"]),
        ("FSRF", ["status 200", "connection refused", "status 500 'no database' (×2)"]),
    ],
)
def test_the_summary_has_the_last_different_results_with_their_number(pattern: str, lines: list[str]) -> None:
    assert summary(results(pattern)) == lines


def test_the_summary_has_no_more_lines_than_asked_for() -> None:
    assert summary(results("SFR"), most=1) == ["connection refused"]


REFUSED = CheckResult(ok=False, seconds=0.1, error="connection refused", refused=True)


@pytest.mark.parametrize(
    ("health", "elapsed", "seconds"),
    [
        (Health(path="/", gate_interval=Period(0.5)), 1.0, FAST_INTERVAL_SECONDS),
        (Health(tcp=True, gate_interval=Period(0.5)), 1.0, FAST_INTERVAL_SECONDS),
        (Health(command=("ok",), gate_interval=Period(0.5)), 1.0, DAEMON_INTERVAL_SECONDS),
        (Health(path="/", gate_interval=Period(0.5)), 6.0, 0.5),
        (Health(path="/", gate_interval=Period(0.01)), 0.0, 0.01),
    ],
)
def test_checks_are_frequent_at_first_and_then_as_defined(health: Health, elapsed: float, seconds: float) -> None:
    assert interval(health, elapsed, REFUSED) == seconds


def test_a_failing_answer_makes_checks_less_frequent() -> None:
    """The app logs each of them."""
    answer = CheckResult(ok=False, seconds=0.1, status=500)
    health = Health(path="/", gate_interval=Period(0.5))
    assert interval(health, 1.0, answer) == ANSWERED_INTERVAL_SECONDS
    assert interval(health, 1.0, CheckResult(ok=True, seconds=0.1, status=200)) == FAST_INTERVAL_SECONDS
    assert interval(Health(path="/", gate_interval=Period(0.01)), 1.0, answer) == 0.01


@pytest.mark.parametrize(
    ("health", "seconds"),
    [
        (Health(path="/", start_timeout=Period(30.0)), 30.0),
        (Health(none=True, stable_for=Period(10.0), start_timeout=Period(5.0)), 20.0),
        (Health(none=True, stable_for=Period(1.0), start_timeout=Period(5.0)), 5.0),
    ],
)
def test_the_start_timeout_leaves_time_to_be_stable(health: Health, seconds: float) -> None:
    assert start_timeout(health) == seconds


@pytest.mark.parametrize(
    ("health", "text"),
    [
        (Health(path="/up", successes=2), "each replica must pass 2 checks in a row (/up)"),
        (Health(tcp=True, successes=1), "each replica must pass 1 check (a TCP connection)"),
        (Health(command=("bin/alive", "-q"), successes=3), "each replica must pass 3 checks in a row (bin/alive -q)"),
        (NONE, "each replica must run for 10s without exiting"),
    ],
)
def test_wording_of_the_requirement(health: Health, text: str) -> None:
    assert requirement(health) == text
