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

from conductor.cli import run
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
    assert run_fake("run") == 125
    assert capsys.readouterr().err == "error: cannot run it: no command\n"


@pytest.mark.parametrize(
    "words", [("service", "rollback"), ("service", "stop"), ("service", "status"), ("cron", "show")]
)
def test_a_second_id_is_refused(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """click itself would silently use the last one."""
    assert run([*words, "--id", "web", "--id", "worker"]) == 2
    assert "takes --id once, not 2 times" in capsys.readouterr().err
