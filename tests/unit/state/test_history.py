"""The history file: one line of JSON per entry, also after a writer was killed."""

import json
import os
import stat
from pathlib import Path

import msgspec
import pytest

from conductor.errors import ConductorError
from conductor.plan.history import HistoryEntry, Outcome
from conductor.state.history import History

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
