"""`service history`: which entries are shown, and their columns."""

from typing import Any

import pytest

from conductor.plan.history import HistoryEntry, Outcome
from conductor.snapshot.actions import past_actions, row


def entry(**fields: Any) -> HistoryEntry:
    values: dict[str, Any] = {
        "at": "2026-01-02T10:00:07.500Z",
        "service": "web",
        "action": "upgrade",
        "outcome": Outcome.DONE,
    }
    return HistoryEntry(**{**values, **fields})


def test_entries_of_one_service_since_a_time() -> None:
    old, new, other = entry(at="2026-01-01T09:00:00.000Z"), entry(), entry(service="api")
    assert past_actions([old, new, other], None, "") == [old, new, other]
    assert past_actions([old, new, other], "web", "") == [old, new]
    assert past_actions([old, new, other], None, "2026-01-02T00:00:00.000Z") == [new, other]


def test_the_newest_entries_are_counted_after_the_other_options() -> None:
    old, new, other = entry(at="2026-01-01T09:00:00.000Z"), entry(), entry(service="api")
    entries = [old, new, other]
    assert [past_actions(entries, None, "", tail) for tail in (1, 2, 4)] == [[other], [new, other], entries]
    assert past_actions(entries, "web", "", 1) == [new]
    assert past_actions(entries, "web", "2026-01-02T00:00:00.000Z", 2) == [new]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"who": "anna", "began": "2026-01-02T10:00:00.000Z", "from_": "a" * 40, "to": "b" * 40,
             "steps": {"start": 0.4, "gate": 3.0, "cutover": 0.1, "drain": 2.0}},
            ("2026-01-02T10:00:07Z", "web", "anna", "upgrade", "aaaaaaaaaaaa -> bbbbbbbbbbbb", "done", "7.5s", "gate 3s, drain 2s"),
        ),
        (
            {"action": "repair", "who": "root", "command": "supervise", "to": "r1", "reason": "1 exited"},
            ("2026-01-02T10:00:07Z", "web", "supervise", "repair", "r1", "done", "-", "1 exited"),
        ),
        (
            {"action": "repair", "command": "supervise", "to": "r1", "reason": "1 exited", "failures": 8,
             "outcome": Outcome.ROLLED_BACK},
            ("2026-01-02T10:00:07Z", "web", "supervise", "repair", "r1", "rolled-back", "-", "attempt 8; 1 exited"),
        ),
        (
            {"action": "repair", "command": "supervise", "to": "r1", "reason": "1 exited", "failures": 1,
             "outcome": Outcome.ROLLED_BACK},
            ("2026-01-02T10:00:07Z", "web", "supervise", "repair", "r1", "rolled-back", "-", "1 exited"),
        ),
        (
            {"action": "repair", "command": "supervise", "to": "r1", "reason": "1 exited", "failures": 9},
            ("2026-01-02T10:00:07Z", "web", "supervise", "repair", "r1", "done", "-", "after 9 failed attempts; 1 exited"),
        ),
        (
            {"action": "cron", "to": "r1", "exit_code": 3},
            ("2026-01-02T10:00:07Z", "web", "-", "cron", "r1", "done", "-", "exited with code 3"),
        ),
        (
            {"action": "stop", "from_": "r1", "to": "r1", "reason": "a move"},
            ("2026-01-02T10:00:07Z", "web", "-", "stop", "r1", "done", "-", "a move"),
        ),
        (
            {"action": "cron", "outcome": Outcome.TIMED_OUT, "seconds": 60.0},
            ("2026-01-02T10:00:07Z", "web", "-", "cron", "-", "timed-out", "1m", ""),
        ),
    ],
)  # fmt: skip
def test_columns(fields: dict[str, Any], expected: tuple[str, ...]) -> None:
    assert row(entry(**fields)) == expected
