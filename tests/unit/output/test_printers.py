"""Printers: what a line says, and that a reader who leaves stops nothing."""

import io
import json
import os

import pytest

from conductor.output.events import Began, Ended, Failed, Finished, Told, Waiting, Warned
from conductor.output.printers import JsonPrinter, LinePrinter, LivePrinter, line

EVENTS = [
    Began("gate", "2 checks"),
    Waiting("gate", "1 of 2 healthy"),
    Ended("gate", 1.25),
    Warned("cut 1"),
    Told("hello"),
    Failed("cannot X: why", ("detail",), "do Y", 1),
    Finished("web runs r2", 2.0, 1, 0),
]


@pytest.mark.parametrize(
    ("event", "text"),
    list(
        zip(
            EVENTS,
            [
                "    gate  2 checks",
                "    gate  … 1 of 2 healthy",
                "    gate  done in 1.25s",
                "warning: cut 1",
                "hello",
                "error: cannot X: why\n  detail\n  do Y",
                "web runs r2 (2.0s, 1 warning)",
            ],
            strict=True,
        )
    ),
)
def test_lines(event, text):
    assert line(event) == text


def test_json_is_one_document_a_line():
    out = io.StringIO()
    printer = JsonPrinter(out)
    for event in EVENTS:
        printer.emit(event)
    documents = [json.loads(text) for text in out.getvalue().splitlines()]
    assert [d["event"] for d in documents] == [
        "began",
        "waiting",
        "ended",
        "warned",
        "told",
        "failed",
        "finished",
    ]
    assert documents[-1]["exit_code"] == 0


@pytest.mark.parametrize("printer", [JsonPrinter, LinePrinter, lambda s: LivePrinter(s, colour=False)])
def test_a_closed_stream_stops_nothing(printer):
    read, write = os.pipe()
    os.close(read)
    with pytest.MonkeyPatch.context():
        stream = os.fdopen(write, "w")
        shown = printer(stream)
        for event in EVENTS * 3:
            shown.emit(event)
        with pytest.raises(BrokenPipeError):
            stream.close()


def test_a_plain_log_is_not_flooded_by_waiting():
    out = io.StringIO()
    printer = LinePrinter(out)
    for _ in range(100):
        printer.emit(Waiting("gate", "1 of 2 healthy"))
    assert out.getvalue() == ""
