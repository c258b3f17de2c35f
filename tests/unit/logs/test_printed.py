"""Lines of a log as text and as JSON."""

import io
import json
import re

import pytest

from conductor.logs.printed import LogPrinter
from conductor.logs.replica_log import Entry
from conductor.plan.log import LogLine

TIME = "2026-01-31T08:00:00.000000001Z"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class ClosedPipe(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def entry(number: int, text: str, time: str = TIME) -> Entry:
    return Entry(TIME, f"web-r1-c1-{number}", "r1", LogLine(time, "stderr", text))


def test_text_has_the_short_name_of_the_replica(capsys: pytest.CaptureFixture[str]) -> None:
    printer = LogPrinter("web", None, as_json=False)
    assert printer.print(entry(1, "a \x1b[31mline\r"))
    assert printer.print(entry(10, ""))
    assert printer.print(entry(1, "tab\there"))
    assert capsys.readouterr().out == (
        "r1-c1-1 | a \\u001b[31mline\\u000d\n"
        "r1-c1-10 | \n"
        "r1-c1-1  | tab\there\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("variables", "coloured"),
    [({"TERM": "xterm"}, True), ({"TERM": "xterm", "NO_COLOR": ""}, False), ({"TERM": "dumb"}, False)],
)
def test_colours_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    printer = LogPrinter("web", None, as_json=False)
    for number in (1, 2, 1):
        printer.print(entry(number, "\x1b[31mred"))
    codes = re.findall(r"\x1b\[(\d+)m", terminal.getvalue())
    assert codes == (["36", "0", "33", "0", "36", "0"] if coloured else [])
    plain = re.sub(r"\x1b\[\d+m", "", terminal.getvalue())
    assert plain.splitlines() == [f"r1-c1-{number} | \\u001b[31mred" for number in (1, 2, 1)]


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    printer = LogPrinter("web", None, as_json=True)
    printer.print(entry(1, 'a "line"\x9b'))
    printer.print(entry(1, "old", time=""))
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {
        "version": 1, "time": TIME, "service": "web", "replica": "web-r1-c1-1", "revision": "r1", "stream": "stderr",
        "line": 'a "line"\x9b',
    }  # fmt: skip
    assert (second["time"], second["line"]) == (None, "old")


def test_only_lines_in_which_the_pattern_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    printer = LogPrinter("web", re.compile(r"^\x1b.*5\d\d$"), as_json=False)
    for text in ("\x1b[0m 500", "\x1b[0m 200", "500"):
        assert printer.print(entry(1, text))
    assert capsys.readouterr().out == "r1-c1-1 | \\u001b[0m 500\n"
    assert printer.found == 1


def test_a_closed_pipe_ends_the_output(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", ClosedPipe())
    assert not LogPrinter("web", None, as_json=False).print(entry(1, "line"))
