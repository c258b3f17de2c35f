"""The error boundary: every end of a command is an exit code, and every error is printed once."""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from conductor import bug_report
from conductor.cli import GROUPS, conductor, run
from conductor.errors import UsageError

QUERIES = [("--version",), ("--help",), ("service", "--help"), ("config", "example"), ("config", "schema")]


@click.group()
def root() -> None:
    pass


@root.command()
def bug() -> None:
    raise RuntimeError("the text of the error")


@root.command()
def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/var/lib/x")


@root.command("run")
def task() -> None:
    raise UsageError("cannot run it: no command")


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def run_fake(*words: str, reports: str = "/nonexistent") -> int:
    return run(words, root=root, reports=Path(reports))


def command(*words: str, **popen: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "conductor", *words], text=True, check=False, **popen)


@pytest.fixture
def closed_pipe() -> Iterator[int]:
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("words", QUERIES, ids=" ".join)
def test_a_closed_pipe_is_no_error(words: tuple[str, ...], closed_pipe: int) -> None:
    done = command(*words, stdout=closed_pipe, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", QUERIES, ids=" ".join)
def test_a_full_disk_behind_stdout_is_an_error(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as stdout:
        done = command(*words, stdout=stdout, stderr=subprocess.PIPE)
    action = "continue" if "--help" in words else "write to stdout"
    assert (done.returncode, done.stderr) == (1, f"error: cannot {action}: No space left on device\n")


def test_an_error_without_a_reader_keeps_its_exit_code(closed_pipe: int) -> None:
    assert command("config", "check", "--config", "/none", stdout=closed_pipe, stderr=closed_pipe).returncode == 2


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_dev_null(closed: str, tmp_path: Path) -> None:
    code = (
        "import os, sys; from conductor.__main__ import open_closed_streams; open_closed_streams()\n"
        "print('x'); print('x', file=sys.stderr); sys.stdin.read()\n"
        "handle = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "os.write(handle, f'{handle} {[os.path.exists(f\"/proc/self/fd/{n}\") for n in range(3)]}'.encode())\n"
    )
    there = tmp_path / "there"
    words = ["bash", "-c", f'exec "$0" -c "$1" "$2" {closed}', sys.executable, code, str(there)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    handle, _, opened = there.read_text().partition(" ")
    assert int(handle) > 2
    assert opened == "[True, True, True]"


@pytest.mark.parametrize(
    "words", [("-e", "TOKEN=hunter2"), ("-eTOKEN=hunter2",), ("-ie", "TOKEN=hunter\n2"), ("--env=TOKEN=hunter2",)]
)
def test_a_bug_report_has_no_values_of_variables(tmp_path: Path, words: tuple[str, ...]) -> None:
    bug_report.bug(ValueError("x"), ("run", "--id", "web", *words, "bin/x", "--flag=1"), tmp_path)
    (report,) = tmp_path.iterdir()
    line = report.read_text().split("\n\n")[0]
    assert "hunter" not in line
    assert line.endswith("TOKEN=[hidden] bin/x --flag=1")


@pytest.mark.parametrize("usable", [True, False], ids=["reports directory", "temporary directory"])
def test_a_bug_leaves_a_report(capsys: pytest.CaptureFixture[str], tmp_path: Path, usable: bool) -> None:
    (tmp_path / "reports").mkdir()
    assert run_fake("bug", reports=str(tmp_path / "reports") if usable else "/nonexistent") == 3
    (report,) = tmp_path.rglob("conductor-bug-*.txt")
    assert report.parent.name == ("reports" if usable else tmp_path.name)
    expected = f"error: this is a bug in Conductor\n  please report it and attach {report}\n"
    assert capsys.readouterr().err == expected
    assert "RuntimeError: the text of the error" in report.read_text()
    assert report.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("directory", ["/nonexistent", "/proc/sys"])
def test_a_bug_without_a_report_names_its_place(
    directory: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", directory)
    assert run_fake("bug") == 3
    sentence, place, cause, hint = capsys.readouterr().err.splitlines()
    assert sentence == "error: this is a bug in Conductor"
    assert place.startswith(f"  RuntimeError at {__file__}:")
    assert place.endswith(" in bug"), "without the text of the error, which may contain a secret"
    assert cause.startswith("  cannot write a report: ")
    assert hint == "  please report it"


def test_no_directory_for_temporary_files(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert run_fake("bug") == 3
    assert "cannot write a report: No usable temporary directory found" in capsys.readouterr().err


def test_a_full_disk_is_no_bug(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run_fake("full") == 1
    assert capsys.readouterr().err == "error: cannot continue: No space left on device: /var/lib/x\n"
    assert list(tmp_path.iterdir()) == []


def test_a_task_that_conductor_cannot_run_exits_with_125(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--verbose", "--quiet", "run", "--config", "/nonexistent", "--id", "web", "true"]) == 125
    assert capsys.readouterr().err.startswith("error: cannot read /nonexistent")
    assert run_fake("run") == 125
    assert capsys.readouterr().err == "error: cannot run it: no command\n"


@pytest.mark.parametrize("words", [("service", "scale"), ("service", "logs"), ("service", "status"), ("cron", "show")])
def test_a_second_id_is_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """click itself would silently use the last one."""
    assert run([*words, "--id", "web", "--id", "worker"]) == 2
    assert "--id was given 2 times" in capsys.readouterr().err


@pytest.mark.parametrize("words", [(), *((group,) for group in GROUPS), ("supervise",)])
def test_without_a_command_the_help_is_printed_with_whole_lines(words: tuple[str, ...]) -> None:
    done = command(*words, "--help", capture_output=True, env={**os.environ, "COLUMNS": "80"})
    assert done.stdout.startswith("Usage: conductor")
    assert "..." not in done.stdout.partition("Commands:")[2]
    if words != ("supervise",):  # which runs without a command
        bare = command(*words, capture_output=True)
        assert (bare.returncode, bare.stdout) == (2, "")
        assert bare.stderr.startswith("Usage: conductor")


def test_a_locale_without_a_character_stops_no_output() -> None:
    done = command("help", "commands", capture_output=True, env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u2026" in done.stdout


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        *[
            ([name, "--id", "web"], f"did you mean conductor service {name}?")
            for name in ("status", "upgrade", "rollback")
        ],
        (["qqq"], "conductor --help lists all commands"),
        (["list"], "did you mean conductor service list or conductor cron list?"),
        (["docter"], "did you mean conductor doctor?"),
        (["deploy"], "did you mean conductor service upgrade?"),
        (["upgrad"], "did you mean conductor service upgrade?"),
        (["service", "lst"], "did you mean conductor service list?"),
        (["service", "ls"], "did you mean conductor service list?"),
        (["service", "qqq"], "conductor service --help lists all commands"),
        (["supervise", "puase"], "did you mean conductor supervise pause?"),
    ],
)
def test_an_unknown_command_names_the_one_that_was_meant(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == 2
    named = next(word for word in words if word not in (*GROUPS, "supervise"))
    assert capsys.readouterr().err == f'error: unknown command "{named}"\n  {hint}\n'


@pytest.mark.parametrize(
    ("command", "option", "hint"),
    [
        ("service logs", "--revision", "did you mean --release?"),
        ("service logs", "-n", "did you mean --tail?"),
        ("service logs", "--tial", "did you mean --tail?"),
        ("service rollback", "--revision", "did you mean --to?"),
        ("service upgrade", "--dry-run", "did you mean --plan?"),
        ("service maintenance", "--off", "did you mean off?"),
        ("completion", "--bash", "did you mean bash?"),
        ("service stop", "--force", "conductor service stop --help lists the options"),
        ("service stop", "-x", "conductor service stop --help lists the options"),
        ("service upgrade", "-d", "conductor service upgrade --help lists the options"),
        ("service rollback", "-t", "conductor service rollback --help lists the options"),
    ],
)
def test_an_unknown_option_names_the_one_that_was_meant(
    command: str, option: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*command.split(), option]) == 2
    error = f"error: cannot use {option}: conductor {command} has no such option\n  {hint}\n"
    assert capsys.readouterr().err == error


def test_every_command_of_service_is_suggested() -> None:
    for name in GROUPS["service"]:
        with pytest.raises(UsageError) as caught:
            conductor.resolve_command(click.Context(conductor), [name])
        assert f"service {name}" in caught.value.hint


WITHOUT_UTF_8 = (
    (["run", "--id", "web", "echo", "\udcff"], 125, 5),
    (["service", "rollback", "--id", "web", "--to", "\udcff"], 2, 6),
    (["supervise", "pause", "--id", "web", "--reason", "\udcff"], 2, 6),
    (["service", "status", "--config", "/tmp/\udcff"], 2, 4),
)


@pytest.mark.parametrize(("words", "code", "number"), WITHOUT_UTF_8, ids=range(len(WITHOUT_UTF_8)))
def test_an_argument_that_is_not_utf_8_is_no_bug(
    words: list[str], code: int, number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(words) == code
    assert f"argument {number} is not UTF-8" in capsys.readouterr().err
