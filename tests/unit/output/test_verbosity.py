"""`--verbose` prints each call of Docker without secrets; `--quiet` prints only results and bad ends. Exit codes stay."""

import io
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from conductor.cli import run
from conductor.commands.options import verbosity_options
from conductor.errors import ConductorError
from conductor.output import verbosity
from conductor.output.events import Event, Failed, Finished, Notice, Progress, StepFinished, StepStarted, Warned
from conductor.output.printers import LinePrinter, LivePrinter, make_output
from conductor.output.streams import write_notice, write_stderr
from conductor.output.verbosity import Verbosity
from conductor.supervise.log import SupervisorLog


@pytest.fixture(autouse=True)
def normal() -> Iterator[None]:
    yield
    verbosity.choose(Verbosity.NORMAL)


def chosen(*words: str) -> Verbosity:
    """The verbosity in a command of a group that both have the two options."""
    seen: list[Verbosity] = []
    inner = click.Command("x", params=list(verbosity_options()), callback=lambda: seen.append(verbosity.chosen()))
    root = click.Group("conductor", commands=[inner], params=list(verbosity_options()))
    assert run(words, root=root) == 0
    return seen[0]


@pytest.mark.parametrize(
    ("words", "variables", "expected"),
    [
        (["x"], {}, Verbosity.NORMAL),
        (["--verbose", "x"], {}, Verbosity.VERBOSE),
        (["x", "--verbose"], {}, Verbosity.VERBOSE),
        (["--quiet", "x"], {}, Verbosity.QUIET),
        (["x", "--quiet"], {}, Verbosity.QUIET),
        (["--quiet", "x", "--verbose"], {}, Verbosity.VERBOSE),
        (["--verbose", "--quiet", "x"], {}, Verbosity.QUIET),
        (["x"], {"CONDUCTOR_QUIET": "1"}, Verbosity.QUIET),
        (["x"], {"CONDUCTOR_QUIET": "0"}, Verbosity.NORMAL),
        (["x"], {"CONDUCTOR_VERBOSE": "yes"}, Verbosity.VERBOSE),
        (["--verbose", "x"], {"CONDUCTOR_QUIET": "1"}, Verbosity.VERBOSE),
        (["x", "--quiet"], {"CONDUCTOR_VERBOSE": "1"}, Verbosity.QUIET),
    ],
)
def test_the_last_option_counts_and_a_variable_only_without_one(
    words: list[str], variables: dict[str, str], expected: Verbosity, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert chosen(*words) is expected


def test_one_command_line_does_not_change_the_next() -> None:
    assert chosen("--quiet", "x") is Verbosity.QUIET
    assert chosen("x") is Verbosity.NORMAL


STEP = (
    StepStarted(step="gate", text="2 checks"),
    Progress(step="gate", text="1 of 2"),
    StepFinished(step="gate", seconds=1.0),
)
WARNING = Warned(text="it was killed")
FAILED = Failed(error="cannot x: y", details=("z",), hint="do it", exit_code=1)


@pytest.mark.parametrize(
    ("events", "shown"),
    [
        ([*STEP, Notice(text="n"), WARNING, Finished(text="done", seconds=1.0, warnings=1)], ""),
        ([*STEP, FAILED], "error: cannot x: y\n  z\n  do it\n"),
        (
            [*STEP, WARNING, Finished(text="one is left", seconds=1.0, warnings=1, exit_code=4)],
            "warning: it was killed\none is left (1s, 1 warning)\n",
        ),
    ],
)
def test_quiet_actions_print_only_bad_ends(events: list[Event], shown: str) -> None:
    verbosity.choose(Verbosity.QUIET)
    stdout, stderr = io.StringIO(), io.StringIO()
    output = make_output(json=True, stdout=stdout, stderr=stderr, now=lambda: "now")
    for event in events:
        output.emit(event)
    assert stderr.getvalue() == shown
    assert len(stdout.getvalue().splitlines()) == len(events), "JSON was asked for"


def test_quiet_hides_notices_and_no_errors(capsys: pytest.CaptureFixture[str]) -> None:
    verbosity.choose(Verbosity.QUIET)
    write_notice("a notice")
    write_stderr("an error")
    assert capsys.readouterr().err == "an error\n"


def test_a_quiet_supervise_logs_failures_and_warnings() -> None:
    verbosity.choose(Verbosity.QUIET)
    lines: list[str] = []
    log = SupervisorLog(lines.append)
    log.info("a pass")
    log.warn("a warning")
    log.failed("web", ConductorError("cannot start"))
    assert [line.removeprefix("<4>") for line in lines] == ["a warning", "web: cannot start"]


def test_quiet_changes_no_exit_code_and_no_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "services.yml"
    path.write_text(
        "version: 1\nhost: {cron: {command: /nope}}\nservices: {web: {image: x, count: 0, cron: {generate: [y]}}}\n"
    )
    for words, code in ((["config", "check", "--config", str(path)], 0), (["config", "check", "--config", "/none"], 2)):
        assert run(words) == code
        loud = capsys.readouterr()
        assert run([*words, "--quiet"]) == code
        quiet = capsys.readouterr()
        assert quiet.out == loud.out
        assert loud.err
        assert quiet.err == ("" if code == 0 else loud.err)


@pytest.mark.parametrize(
    "words",
    [
        ["upgrade", "--revision", "r1"], ["rollback"], ["restart"], ["scale", "--count", "1"], ["start"], ["stop"],
        ["maintenance", "on"],
    ],
)  # fmt: skip
def test_quiet_still_prints_a_plan(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["service", *words, "--id", "web", "--plan", "--quiet", "--config", "/none"]) == 2
    assert verbosity.chosen() is Verbosity.NORMAL
    assert "cannot read /none" in capsys.readouterr().err


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("level", "kind"), [(Verbosity.NORMAL, LivePrinter), (Verbosity.VERBOSE, LinePrinter)])
def test_verbose_steps_are_plain_lines_on_a_terminal(
    level: Verbosity, kind: type[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A live line and the lines of calls would overwrite each other."""
    monkeypatch.setenv("TERM", "xterm")
    verbosity.choose(level)
    assert type(make_output(json=False, stdout=io.StringIO(), stderr=Tty(), now=str)) is kind
