"""State files: whole or not at all, refused by name."""

import stat

import msgspec
import pytest

from conductor.errors import ConductorError
from conductor.plan.values import Wanted
from conductor.state import files
from conductor.state.store import Store


def test_what_is_written_is_read(tmp_path):
    store = Store(tmp_path / "state")
    wanted = Wanted(service="web", scale=3)
    store.write_wanted(wanted)
    assert store.wanted("web") == wanted
    assert store.services() == ("web",)
    assert [p.name for p in (tmp_path / "state" / "services").iterdir()] == ["web.json"]


def test_nobody_else_can_read(tmp_path):
    store = Store(tmp_path / "state")
    store.write_wanted(Wanted(service="web"))
    store.record({"a": 1})
    paths = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
    assert {stat.S_IMODE(p.stat().st_mode) for p in paths if p.is_dir()} == {0o700}
    assert {stat.S_IMODE(p.stat().st_mode) for p in paths if p.is_file()} == {0o600}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"version": 2, "service": "web"}', "it has format 2, this Conductor reads up to 1"),
        ('{"version": 1, "service": "we', "it is damaged"),
        ('{"version": 1}', "it is damaged"),
        ("", "it is damaged"),
        ("[]", "it is damaged"),
        ('{"version": null, "service": 3}', "it is damaged"),
    ],
)
def test_a_newer_or_damaged_file_is_refused_by_name(tmp_path, text, sentence):
    path = tmp_path / "services" / "web.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(ConductorError) as caught:
        Store(tmp_path).wanted("web")
    assert f"cannot use {path}" in caught.value.sentence
    assert sentence in caught.value.sentence
    assert path.read_text() == text


def test_a_crash_before_the_rename_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.json"
    files.write(path, {"version": 1, "value": "old"})
    (tmp_path / ".x.json.new").write_text('{"version": 1, "val')
    assert files.read(path, dict[str, object]) == {"version": 1, "value": "old"}
    files.write(path, {"version": 1, "value": "new"})
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_workers_of_nginx_can_pass_parents(tmp_path):
    files.make_directory(tmp_path / "run" / "locks")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("run", "run/locks")]
    assert modes == [0o755, 0o700]


def test_history_survives_a_torn_line(tmp_path):
    store = Store(tmp_path)
    store.record({"n": 1})
    with (tmp_path / "history.jsonl").open("a") as stream:
        stream.write('{"n": ')
    store.record({"n": 2})
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [msgspec.json.decode(lines[0]), msgspec.json.decode(lines[2])] == [{"n": 1}, {"n": 2}]


def test_what_a_killed_writer_left_goes_with_its_change(tmp_path):
    store = Store(tmp_path)
    store.write_wanted(Wanted(service="web"))
    (tmp_path / "journal").mkdir()
    left = [tmp_path / "services" / ".web.json.new", tmp_path / "journal" / ".web.json.new"]
    others = tmp_path / "services" / ".other.json.new"
    for path in (*left, others):
        path.write_text("half")
    store.remove_journal("web")
    assert [path.exists() for path in left] == [False, False]
    assert others.exists()
    assert store.wanted("web") == Wanted(service="web")
