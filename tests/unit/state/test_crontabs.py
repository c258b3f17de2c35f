"""The files for cron, which detects a change by whole seconds."""

import os
import shutil
import stat
import subprocess
import time
from pathlib import Path

import pytest

from conductor.cron.installed import HEADER
from conductor.errors import ConductorError
from conductor.state.crontabs import Crontabs, is_cron_running

LINE = f"{HEADER} jobs\na line\n"
NOW = 4_000_000_000  # ahead of the host's clock, as if everything happened within one second


@pytest.mark.parametrize("text", [LINE, None], ids=["replaced", "removed"])
def test_a_second_change_within_one_second_has_a_new_time(tmp_path: Path, text: str | None) -> None:
    crontabs = Crontabs(str(tmp_path))
    crontabs.put("jobs", f"{HEADER} jobs\nfirst\n")
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
        crontabs.put(service, LINE)
        seen.append(int(tmp_path.stat().st_mtime))
    assert seen == [NOW + 1, NOW + 2, NOW + 3]


def test_an_unchanged_table_keeps_its_time(tmp_path: Path) -> None:
    crontabs = Crontabs(str(tmp_path))
    os.utime(tmp_path, (1, 1))
    assert crontabs.put("jobs", LINE)
    written = crontabs.path("jobs").stat().st_mtime_ns
    assert not crontabs.put("jobs", LINE)
    assert crontabs.path("jobs").stat().st_mtime_ns == written
    assert not crontabs.put("other", None)


def test_only_root_can_read_a_table(tmp_path: Path) -> None:
    crontabs = Crontabs(str(tmp_path))
    crontabs.put("jobs", LINE)
    assert crontabs.path("jobs") == tmp_path / "conductor-jobs"
    assert stat.S_IMODE(crontabs.path("jobs").stat().st_mode) == 0o600


def test_a_missing_directory_is_an_error_before_anything_changes(tmp_path: Path) -> None:
    Crontabs(str(tmp_path)).check("jobs")
    with pytest.raises(ConductorError) as failed:
        Crontabs(str(tmp_path / "absent")).check("jobs")
    assert str(tmp_path / "absent") in failed.value.sentence


def test_a_file_that_conductor_did_not_write_is_neither_replaced_nor_removed(tmp_path: Path) -> None:
    crontabs, text = Crontabs(str(tmp_path)), "0 3 * * * root /usr/local/bin/backup\n"
    crontabs.path("jobs").write_text(text)
    assert crontabs.read("jobs") is None
    assert not crontabs.put("jobs", None)
    for refused in (lambda: crontabs.put("jobs", LINE), lambda: crontabs.check("jobs")):
        with pytest.raises(ConductorError) as failed:
            refused()
        assert str(crontabs.path("jobs")) in failed.value.sentence
    assert crontabs.path("jobs").read_text() == text


def test_a_cron_daemon_is_found_by_its_name(tmp_path: Path) -> None:
    before = is_cron_running()
    program = shutil.copy("/bin/sleep", tmp_path / "cron")
    with subprocess.Popen([program, "60"]) as process:
        until = time.monotonic() + 10
        while not (found := is_cron_running()) and time.monotonic() < until:
            time.sleep(0.01)  # until the new process executes the program
        process.kill()
    assert found
    assert is_cron_running() == before
