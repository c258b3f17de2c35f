"""State files: written whole or not at all, and refused by name when they are damaged."""

import os
import stat
from pathlib import Path

import pytest

from conductor.errors import ConductorError
from conductor.plan.release import Wanted
from conductor.state import files


def test_the_value_that_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "web.json"
    files.write(path, Wanted(service="web", scale=3))
    assert files.read(path, Wanted) == Wanted(service="web", scale=3)
    assert [one.name for one in tmp_path.iterdir()] == ["web.json"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_missing_file_has_no_value(tmp_path: Path) -> None:
    assert files.read(tmp_path / "web.json", Wanted) is None


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ('{"version": 2, "service": "web"}', "its format is 2; this version of Conductor reads formats up to 1"),
        ('{"version": 1, "service": "we', "it is damaged"),
        ('{"version": 1}', "it is damaged"),
        ("", "it is damaged"),
        ("[]", "it is damaged"),
        ('{"version": null, "service": 3}', "it is damaged"),
    ],
)
def test_a_newer_or_damaged_file_is_refused_by_name_and_stays(tmp_path: Path, text: str, cause: str) -> None:
    path = tmp_path / "web.json"
    path.write_text(text)
    with pytest.raises(ConductorError) as refused:
        files.read(path, Wanted)
    assert refused.value.sentence.startswith(f"cannot read {path}: {cause}")
    assert refused.value.hint
    assert path.read_text() == text


def test_an_unreadable_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConductorError) as refused:
        files.read(tmp_path, Wanted)
    assert refused.value.sentence.startswith(f"cannot read {tmp_path}: ")


def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    files.write(path, {"version": 1, "value": "old"})
    (tmp_path / ".x.json.new").write_text('{"version": 1, "val')
    assert files.read(path, dict[str, object]) == {"version": 1, "value": "old"}
    files.write(path, {"version": 1, "value": "new"})
    assert [one.name for one in tmp_path.iterdir()] == ["x.json"]


def test_a_failed_write_leaves_nothing_beside_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "x.json").mkdir()
    with pytest.raises(ConductorError) as failed:
        files.write_bytes(tmp_path / "x.json", b"text")
    assert failed.value.sentence.startswith(f"cannot write {tmp_path / 'x.json'}: ")
    assert [one.name for one in tmp_path.iterdir()] == ["x.json"]


def test_a_link_or_pipe_beside_a_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("other")
    for place in (
        lambda path: path.symlink_to(tmp_path / "other"),
        os.mkfifo,
        lambda path: os.link(tmp_path / "other", path),
    ):
        place(tmp_path / ".x.json.new")
        files.write_bytes(tmp_path / "x.json", b"text")
        assert [one.name for one in tmp_path.glob("*x.json*")] == ["x.json"]
        assert (tmp_path / "other").read_text() == "other"


def test_a_file_is_removed_once_or_twice(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    files.write(path, {})
    (tmp_path / ".x.json.new").write_text("half")
    files.remove(path)
    files.remove(path)
    assert list(tmp_path.iterdir()) == []


def test_missing_parents_are_open_to_nginx_workers(tmp_path: Path) -> None:
    files.make_directory(tmp_path / "run" / "locks")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("run", "run/locks")]
    assert modes == [0o755, 0o700]
