"""Printers: the text of each event, JSON with its time, and a closed stream that stops no action."""

import io
import json
import os
import time
from collections.abc import Callable
from typing import TextIO

import pytest

from conductor.output.events import (
    DrainProgress,
    Event,
    Failed,
    Finished,
    Notice,
    Progress,
    Removed,
    ServiceResult,
    StepFinished,
    StepStarted,
    Warned,
)
from conductor.output.printable import printable
from conductor.output.printers import (
    REDRAW_SECONDS,
    ChangeOutput,
    JsonPrinter,
    LinePrinter,
    LivePrinter,
    Output,
    error_text,
    line,
    make_output,
)
from conductor.output.streams import write_stderr, write_stdout
from conductor.output.tables import as_document

CHANGED = ServiceResult(service="web", action="upgrade", changed=True, from_="r1", to="r2")
EVENTS: list[tuple[Event, str, str]] = [
    (StepStarted(step="gate", text="2 checks"), "step-started", "    gate  2 checks"),
    (Progress(step="gate", text="1 of 2 healthy"), "progress", "    gate  … 1 of 2 healthy"),
    (
        DrainProgress(step="drain", text="2 requests", requests=2, connections=1, seconds_left=27.0),
        "progress",
        "   drain  … 2 requests",
    ),
    (StepFinished(step="gate", seconds=1.25), "step-finished", "    gate  done in 1.25s"),
    (Warned(text="cut 1"), "warning", "warning: cut 1"),
    (Notice(text="hello"), "notice", "hello"),
    (
        Removed(kind="image", service="web", name="shop:r1", bytes=164_000_000),
        "removed",
        "      gc  removed image shop:r1 of web (frees up to 164.0 MB)",
    ),
    (
        Removed(kind="history", service="", name="history.000001.jsonl", bytes=1500),
        "removed",
        "      gc  removed history history.000001.jsonl (frees up to 1.5 kB)",
    ),
    (
        Failed(error="cannot X: cause", details=("detail",), hint="do Y", exit_code=1),
        "failed",
        "error: cannot X: cause\n  detail\n  do Y",
    ),
    (
        Finished(text="web is running r2", seconds=2.0, warnings=1, services=(CHANGED,)),
        "finished",
        "web is running r2 (2s, 1 warning)",
    ),
]


def now() -> str:
    return "2026-01-01T00:00:00.000Z"


@pytest.mark.parametrize(("event", "text"), [(event, text) for event, _, text in EVENTS])
def test_texts(event: Event, text: str) -> None:
    assert line(event) == text


@pytest.mark.parametrize(
    ("details", "hint", "text"),
    [
        ((), "", "error: cannot X: cause"),
        (("a", "b"), "", "error: cannot X: cause\n  a\n  b"),
        ((), "do Y", "error: cannot X: cause\n  do Y"),
    ],
)
def test_texts_of_errors(details: tuple[str, ...], hint: str, text: str) -> None:
    assert error_text("cannot X: cause", details, hint) == text


def test_json_is_one_document_per_line_with_time_change_and_services() -> None:
    out = io.StringIO()
    printer = ChangeOutput(JsonPrinter(out, now), "c1", ("web",))
    for event, _, _ in EVENTS:
        printer.emit(event)
    documents = [json.loads(text) for text in out.getvalue().splitlines()]
    assert [one["event"] for one in documents] == [tag for _, tag, _ in EVENTS]
    assert {(one["time"], one["change"], *one["service_ids"]) for one in documents} == {(now(), "c1", "web")}
    assert documents[-1]["exit_code"] == 0
    assert documents[-1]["services"] == [
        {"service": "web", "action": "upgrade", "changed": True, "from": "r1", "to": "r2"}
    ]


@pytest.mark.parametrize(("as_json", "tags"), [(True, ["notice"]), (False, [])])
def test_text_goes_to_stderr_and_json_to_stdout(as_json: bool, tags: list[str]) -> None:
    stdout, stderr = io.StringIO(), io.StringIO()
    make_output(json=as_json, stdout=stdout, stderr=stderr, now=now).emit(Notice(text="hello"))
    assert [json.loads(text)["event"] for text in stdout.getvalue().splitlines()] == tags
    assert stderr.getvalue() == "hello\n"


@pytest.mark.parametrize(
    "make", [lambda stream: JsonPrinter(stream, now), LinePrinter, lambda stream: LivePrinter(stream, colour=False)]
)
def test_a_closed_stream_stops_no_action(make: Callable[[TextIO], Output]) -> None:
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    printer = make(stream)
    for event, _, _ in EVENTS * 3:
        printer.emit(event)
    with pytest.raises(BrokenPipeError):
        stream.close()


def test_a_plain_log_limits_progress() -> None:
    out = io.StringIO()
    printer = LinePrinter(out)
    for _ in range(100):
        printer.emit(Progress(step="gate", text="1 of 2 healthy"))
    assert out.getvalue() == ""


HOSTILE = "\x1b]0;title\x07 \x9b2J\x7f\tone\r\ntwo"
SHOWN = "\\u001b]0;title\\u0007 \\u009b2J\\u007f\tone\\u000d\ntwo"


def test_control_characters_are_escaped() -> None:
    assert printable(HOSTILE) == SHOWN


@pytest.mark.parametrize(
    "event",
    [
        StepStarted(step="gate", text=HOSTILE),
        Progress(step="gate", text=HOSTILE),
        Notice(text=HOSTILE),
        Warned(text=HOSTILE),
        Failed(error=HOSTILE, details=(HOSTILE,), hint="", exit_code=1),
        Finished(text=HOSTILE, seconds=1.0),
    ],
    ids=lambda event: type(event).__name__,
)
def test_no_printer_passes_control_characters_of_an_app_on(event: Event) -> None:
    plain, live, documents = io.StringIO(), io.StringIO(), io.StringIO()
    printer = LivePrinter(live, colour=False)
    for output in (LinePrinter(plain), printer, JsonPrinter(documents, now)):
        output.emit(event)
        output.emit(StepFinished(step="gate", seconds=1.0))
    for stream in (plain, live, documents):
        text = stream.getvalue().replace("\r\x1b[K", "")
        assert printable(text) == text
    assert json.loads(documents.getvalue().splitlines()[0])["event"]


def test_the_live_line_has_no_control_characters_of_an_app() -> None:
    out = io.StringIO()
    printer = LivePrinter(out, colour=False)
    printer.emit(StepStarted(step="gate", text="2 checks"))
    printer.emit(Progress(step="gate", text=HOSTILE))
    until = time.monotonic() + 10
    while "title" not in out.getvalue():
        assert time.monotonic() < until
        time.sleep(0.01)
    printer.emit(StepFinished(step="gate", seconds=1.0))
    text = out.getvalue().replace("\r\x1b[K", "")
    assert printable(text) == text


@pytest.mark.parametrize(
    "event", [Finished(text="done", seconds=1.0), Failed(error="no", details=(), hint="", exit_code=1)]
)
def test_no_live_line_follows_the_end_of_an_action(event: Event) -> None:
    """The garbage collection after an upgrade may end with a warning, and no end of its step."""
    out = io.StringIO()
    printer = LivePrinter(out, colour=False)
    printer.emit(StepStarted(step="gc", text="remove"))
    printer.emit(event)
    size = len(out.getvalue())
    time.sleep(4 * REDRAW_SECONDS)
    assert len(out.getvalue()) == size


def test_stdout_and_stderr_are_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    """`cron list` shows the last output of a job; an error shows what a generator printed."""
    write_stdout(HOSTILE)
    write_stderr(HOSTILE)
    assert capsys.readouterr() == (SHOWN + "\n", SHOWN + "\n")


def test_json_on_stdout_stays_valid(capsys: pytest.CaptureFixture[str]) -> None:
    write_stdout(as_document({"output": HOSTILE}))
    assert json.loads(capsys.readouterr().out) == {"output": HOSTILE}
