"""The files for cron, which detects a change by whole seconds."""

import os
import stat
from pathlib import Path

import pytest

from conductor.errors import ConductorError
from conductor.state.crontabs import Crontabs

NOW = 4_000_000_000  # ahead of the host's clock, as if everything happened within one second


@pytest.mark.parametrize("text", ["second\n", None], ids=["replaced", "removed"])
def test_a_second_change_within_one_second_has_a_new_time(tmp_path: Path, text: str | None) -> None:
    crontabs = Crontabs(str(tmp_path))
    crontabs.put("jobs", "first\n")
    watched = [tmp_path, crontabs.path("jobs")]
    for path in watched:
        os.utime(path, (NOW, NOW))
    assert crontabs.put("jobs", text)
    assert [int(path.stat().st_mtime) for path in watched if path.exists()] == [NOW + 1] * (1 if text is None else 2)
    assert crontabs.read("jobs") == text


def test_each_of_several_tables_within_one_second_has_a_new_time(tmp_path: Path) -> None:
    """Cron may read the directory between any two of them."""
    crontabs = Crontabs(str(tmp_path))
    os.utime(tmp_path, (NOW, NOW))
    seen = []
    for service in ("one", "two", "three"):
        crontabs.put(service, "a line\n")
        seen.append(int(tmp_path.stat().st_mtime))
    assert seen == [NOW + 1, NOW + 2, NOW + 3]


def test_an_unchanged_table_keeps_its_time(tmp_path: Path) -> None:
    crontabs = Crontabs(str(tmp_path))
    os.utime(tmp_path, (1, 1))
    assert crontabs.put("jobs", "a line\n")
    written = crontabs.path("jobs").stat().st_mtime_ns
    assert not crontabs.put("jobs", "a line\n")
    assert crontabs.path("jobs").stat().st_mtime_ns == written
    assert not crontabs.put("other", None)


def test_only_root_can_read_a_table(tmp_path: Path) -> None:
    crontabs = Crontabs(str(tmp_path))
    crontabs.put("jobs", "a line\n")
    assert crontabs.path("jobs") == tmp_path / "conductor-jobs"
    assert stat.S_IMODE(crontabs.path("jobs").stat().st_mode) == 0o600


def test_a_missing_directory_is_an_error_before_anything_changes(tmp_path: Path) -> None:
    Crontabs(str(tmp_path)).check()
    with pytest.raises(ConductorError) as failed:
        Crontabs(str(tmp_path / "absent")).check()
    assert str(tmp_path / "absent") in failed.value.sentence
