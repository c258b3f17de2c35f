"""What `supervise` says: each thing once, equal failures summed up, in the journal's way where the journal reads it."""

import os

import pytest

from conductor.state.files import write
from conductor.state.supervisor_status import Notes, ServiceNote, former_notes, notes_file, read_notes
from conductor.supervise.log import QuietStore, SupervisorLog


@pytest.fixture(autouse=True)
def no_journal(monkeypatch):
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)


def lines(capsys) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_equal_failures_are_summed_up(capsys):
    teller = SupervisorLog()
    for number in range(1, 21):
        teller.acting("web", "0 of 1 run")
        teller.failed("web", f"cannot start web-{number}: after {number / 7:.3f}s: no\nits log")
    said = lines(capsys)
    assert said[:3] == ["web: 0 of 1 run: acting", "web: cannot start web-1: after 0.143s: no", "its log"]
    assert [line.split(" times")[0].rsplit(" ", 1)[1] for line in said[3:]] == ["2", "4", "8", "16"]


def test_another_failure_and_another_service_are_told(capsys):
    teller = SupervisorLog()
    teller.failed("web", "cannot start")
    teller.failed("shop", "cannot start")
    teller.failed("web", "cannot list")
    assert lines(capsys) == ["web: cannot start", "shop: cannot start", "web: cannot list"]


def test_after_it_was_well_it_is_told_anew(capsys):
    teller = SupervisorLog()
    teller.failed("web", "cannot start")
    assert teller.troubled
    teller.well("web")
    assert not teller.troubled
    teller.failed("web", "cannot start")
    assert lines(capsys) == ["web: cannot start"] * 2


def test_priorities_where_the_journal_reads(capsys, monkeypatch):
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    teller = SupervisorLog()
    teller.say("hello\nworld")
    teller.failed("web", "cannot start")
    assert lines(capsys) == ["<6>hello", "<6>world", "<4>web: cannot start"]


def test_the_history_has_the_first_of_equal_failures(tmp_path):
    def outcome(text: str, service: str = "web") -> None:
        QuietStore(tmp_path).record({"service": service, "outcome": text})

    for text in ("failed, undone", "failed, undone", "done", "done", "failed, undone", "failed, undone"):
        outcome(text)
    outcome("failed, undone", "shop")
    assert (tmp_path / "history.jsonl").read_text().count('"failed, undone"') == 3
    assert (tmp_path / "history.jsonl").read_text().count('"done"') == 2


def test_notes_are_true_while_their_writer_lives(tmp_path):
    assert read_notes(str(tmp_path)) is None
    services = {"web": ServiceNote(why="1 missing", until="later", attempts=3, last=5.0)}
    for pid, true in ((os.getpid(), True), (2**22 + 1, False)):
        write(notes_file(str(tmp_path)), Notes(pid=pid, since="now", text="t", services=services))
        assert (read_notes(str(tmp_path)) is not None) == true
        assert former_notes(str(tmp_path)) == services
    notes_file(str(tmp_path)).write_text("{")
    assert former_notes(str(tmp_path)) == {}
