"""Times and durations as text: one format, without more digits than a person needs."""

import pytest

from conductor.clock import Clock, utc_of_local
from conductor.times import duration_text, time_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"), (0.0004, "0s"), (0.0412, "0.041s"), (0.0996, "0.1s"), (0.41, "0.41s"), (1.25, "1.25s"),
        (9.996, "10s"), (12.34, "12.3s"), (30.0, "30s"), (59.94, "59.9s"), (59.96, "1m"), (60, "1m"), (250, "4m10s"),
        (3600, "1h"), (3605, "1h"), (3900, "1h5m"), (86400 + 3600, "1d1h"), (86400 + 60, "1d"), (10 * 86400, "10d"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("stamp", "text"),
    [
        ("2026-01-31T08:00:00.123Z", "2026-01-31T08:00:00Z"),
        ("2026-01-31T08:00:00.123456789Z", "2026-01-31T08:00:00Z"),
        ("2026-01-31T08:00:00Z", "2026-01-31T08:00:00Z"),
        ("", ""),
    ],
)
def test_times_are_whole_seconds(stamp: str, text: str) -> None:
    assert time_text(stamp) == text


def test_a_shown_time_can_be_passed_to_since() -> None:
    clock = Clock()
    now = clock.now()
    assert clock.stamp(time_text(now)) <= now


def test_local_times_are_shown_in_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert utc_of_local("2026-01-31 08:00") == "2026-01-31T02:30:00Z"
    finally:
        monkeypatch.undo()
        time.tzset()
