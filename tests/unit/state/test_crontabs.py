"""Files for cron, which notices a change by whole seconds."""

import os
from pathlib import Path

import pytest

from conductor.state.crontabs import Crontabs

NOW = 4_000_000_000  # ahead of every clock, as if all of this happened within one second


@pytest.mark.parametrize("text", ["second\n", None], ids=["replaced", "removed"])
def test_a_change_within_the_second_of_the_last_one_looks_like_a_change(tmp_path: Path, text: str | None) -> None:
    crontabs = Crontabs(str(tmp_path))
    crontabs.put("jobs", "first\n")
    watched = [tmp_path, crontabs.path("jobs")]
    for path in watched:
        os.utime(path, (NOW, NOW))
    assert crontabs.put("jobs", text)
    assert [int(path.stat().st_mtime) for path in watched if path.exists()] == [NOW + 1] * (1 if text is None else 2)
    assert crontabs.read("jobs") == text


def test_several_tables_within_a_second(tmp_path: Path) -> None:
    """cron may read between any two of them."""
    crontabs = Crontabs(str(tmp_path))
    os.utime(tmp_path, (NOW, NOW))
    seen = []
    for service in ("one", "two", "three"):
        crontabs.put(service, "a line\n")
        seen.append(int(tmp_path.stat().st_mtime))
    assert seen == [NOW + 1, NOW + 2, NOW + 3]


def test_what_is_old_keeps_its_time(tmp_path: Path) -> None:
    crontabs = Crontabs(str(tmp_path))
    os.utime(tmp_path, (1, 1))
    crontabs.put("jobs", "a line\n")
    made = crontabs.path("jobs").stat().st_mtime_ns
    assert not crontabs.put("jobs", "a line\n")
    assert crontabs.path("jobs").stat().st_mtime_ns == made
