"""The history file: one line of JSON per entry, also after a writer was killed."""

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from conductor.errors import ConductorError
from conductor.plan.history import HistoryEntry, Outcome
from conductor.state.history import BLOCK_BYTES, History, latest, read, remove_rotated, rotate, rotated, size

UPGRADE = HistoryEntry(
    at="2026-01-01T00:00:00.000Z", service="web", action="upgrade", outcome=Outcome.DONE, from_="r1", to="r2", count=2,
    steps={"start": 0.25},
)  # fmt: skip
STOP = HistoryEntry(at="2026-01-01T00:00:01.000Z", service="web", action="stop", outcome=Outcome.ROLLED_BACK)


def lines(directory: Path) -> list[str]:
    return (directory / "history.jsonl").read_text().splitlines()


def test_entries_are_lines_in_order(tmp_path: Path) -> None:
    history = History(tmp_path / "state")
    history.append(UPGRADE)
    history.append(STOP)
    assert [msgspec.json.decode(line, type=HistoryEntry) for line in lines(tmp_path / "state")] == [UPGRADE, STOP]
    assert list(history.entries()) == [UPGRADE, STOP]


def test_without_a_file_there_are_no_entries(tmp_path: Path) -> None:
    assert list(History(tmp_path / "absent").entries()) == []


def test_an_unreadable_history_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").mkdir()
    with pytest.raises(ConductorError, match=r"cannot read .*history\.jsonl: Is a directory"):
        list(History(tmp_path).entries())


def test_a_line_has_only_the_fields_that_are_set(tmp_path: Path) -> None:
    History(tmp_path).append(UPGRADE)
    assert json.loads(lines(tmp_path)[0]) == {
        "at": "2026-01-01T00:00:00.000Z",
        "service": "web",
        "action": "upgrade",
        "outcome": "done",
        "from": "r1",
        "to": "r2",
        "count": 2,
        "steps": {"start": 0.25},
    }


def test_an_incomplete_last_line_is_ended_first(tmp_path: Path) -> None:
    history = History(tmp_path)
    history.append(UPGRADE)
    with (tmp_path / "history.jsonl").open("a") as stream:
        stream.write('{"at": ')
    history.append(STOP)
    first, torn, last = lines(tmp_path)
    assert torn == '{"at": '
    assert [msgspec.json.decode(line, type=HistoryEntry) for line in (first, last)] == [UPGRADE, STOP]
    assert list(history.entries()) == [UPGRADE, STOP]


def test_only_root_can_read_the_history(tmp_path: Path) -> None:
    History(tmp_path / "state").append(STOP)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / "history.jsonl").stat().st_mode) == 0o600


def test_a_history_that_cannot_be_written_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "history.jsonl").mkdir()
    with pytest.raises(ConductorError) as failed:
        History(tmp_path).append(STOP)
    assert failed.value.sentence.startswith(f"cannot write {tmp_path / 'history.jsonl'}: ")


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:7]))
    history = History(tmp_path)
    history.append(UPGRADE)
    history.append(STOP)
    assert [msgspec.json.decode(line, type=HistoryEntry) for line in lines(tmp_path)] == [UPGRADE, STOP]


def numbered(number: int) -> HistoryEntry:
    return msgspec.structs.replace(STOP, change=str(number))


def test_a_rotated_history_continues_in_a_new_file_and_is_read_as_one(tmp_path: Path) -> None:
    assert list(read(tmp_path)) == []
    rotate(tmp_path)  # there is none yet
    history = History(tmp_path)
    for number in range(6):
        history.append(numbered(number))
        if number % 2:
            rotate(tmp_path)
    assert [one.name for one in rotated(tmp_path)] == [f"history.{number:06}.jsonl" for number in (1, 2, 3)]
    assert [entry.change for entry in read(tmp_path)] == list("012345")
    history.append(numbered(6))
    remove_rotated(tmp_path, "history.000001.jsonl")
    assert [entry.change for entry in read(tmp_path)] == list("23456")
    rotate(tmp_path)
    assert rotated(tmp_path)[-1].name == "history.000004.jsonl"
    assert size(tmp_path) == 0


def test_lines_that_are_no_entry_are_left_out(tmp_path: Path) -> None:
    History(tmp_path).append(UPGRADE)
    with (tmp_path / "history.jsonl").open("a") as stream:
        stream.write('{"at": \n{"at":"x","service":"web","action":"of-a-newer-version","outcome":"done"}\n')
    History(tmp_path).append(STOP)
    assert list(read(tmp_path)) == [UPGRADE, STOP]


@pytest.mark.parametrize("rotations", [1, 2, 3])
def test_rotations_while_the_history_is_read_change_nothing(tmp_path: Path, rotations: int) -> None:
    history = History(tmp_path)
    for number in range(4):
        history.append(numbered(number))
        if number == 1:
            rotate(tmp_path)
    reading = read(tmp_path)
    found = [next(reading).change]
    for number in range(rotations):
        rotate(tmp_path)
        history.append(numbered(10 + number))
    assert [*found, *(entry.change for entry in reading)] == list("0123")


def test_a_rotation_that_cannot_list_the_files_replaces_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    history = History(tmp_path)
    for number in range(2):
        history.append(numbered(number))
        if not number:
            rotate(tmp_path)

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patched:
        for name in ("scandir", "listdir"):
            patched.setattr(os, name, refuse)
        with pytest.raises(ConductorError, match=f"cannot read {tmp_path}: Permission denied"):
            rotate(tmp_path)
    assert [entry.change for entry in read(tmp_path)] == list("01")


def test_a_rotation_between_the_opening_of_two_files_is_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The current file is opened first; then it is renamed, and a later one too, before the rotated files are listed."""
    history = History(tmp_path)
    history.append(numbered(0))
    glob = Path.glob

    def late(path: Path, pattern: str) -> object:
        monkeypatch.setattr(Path, "glob", glob)
        for number in (1, 2):
            rotate(tmp_path)
            history.append(numbered(number))
        return glob(path, pattern)

    monkeypatch.setattr(Path, "glob", late)
    assert [entry.change for entry in read(tmp_path)] == ["0"]


APPEND = """
import sys, time
from pathlib import Path
from conductor.plan.history import HistoryEntry, Outcome
from conductor.state.history import BLOCK_BYTES, History, latest, read, remove_rotated, rotate, rotated, size

history = History(Path(sys.argv[1]))
for number in range(150):
    history.append(
        HistoryEntry(at="", service=sys.argv[2], action="stop", outcome=Outcome.DONE, change=str(number))
    )
    time.sleep(0.005)  # so that rotations happen in between
"""


def test_no_entry_of_concurrent_writers_is_lost_or_doubled(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", APPEND, str(tmp_path), name]) for name in ("a", "b", "c")]
    seen: dict[str, int] = {}
    while any(writer.poll() is None for writer in writers):
        rotate(tmp_path)
        entries = list(read(tmp_path))
        for name in ("a", "b", "c"):
            changes = [int(entry.change) for entry in entries if entry.service == name]
            assert changes == list(range(len(changes)))
            assert len(changes) >= seen.get(name, 0)
            seen[name] = len(changes)
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert len(rotated(tmp_path)) > 3
    for name in ("a", "b", "c"):
        assert [int(entry.change) for entry in read(tmp_path) if entry.service == name] == list(range(150))


def test_the_latest_lines_come_first_across_files_and_blocks(tmp_path: Path) -> None:
    """More than two blocks, and three files. A torn line and one of a newer version are left out."""
    entries = [
        msgspec.structs.replace(UPGRADE, at=f"2026-01-01T00:{n // 60:02}:{n % 60:02}.000Z", reason="x" * 200)
        for n in range(900)
    ]
    for number, one in enumerate(entries):
        if number in {300, 600}:
            rotate(tmp_path)
        History(tmp_path).append(one)
    assert size(tmp_path) > BLOCK_BYTES
    with (tmp_path / "history.jsonl").open("a") as stream:
        stream.write('{"newer": 1}\n{"at": "2026')
    found = list(latest(tmp_path))
    assert [line.entry() for line in found] == entries[::-1]
    assert (found[0].at, found[0].service, found[0].action) == (entries[-1].at, "web", "upgrade")
    some = list(latest(tmp_path, size(tmp_path) + 1000))
    assert 300 < len(some) < 310
    assert [line.at for line in some] == [line.at for line in found[: len(some)]]
    newer = found[0]._replace(raw=b'{"at": "", "service": "web", "action": "teleport", "outcome": "done"}')
    assert newer.entry() is None
    assert list(latest(tmp_path / "absent")) == []
