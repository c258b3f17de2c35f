"""The boundary: whatever happens is a sentence and an exit code, whoever still reads it."""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import conductor.cli
from conductor.cli import VERBS, run

QUERIES = [("--version",), ("--help",), ("service", "--help"), ("config", "example"), ("config", "schema")]


@click.command()
def bug() -> None:
    raise RuntimeError("the words of the error")


@click.command()
def full() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/var/lib/x")


@pytest.fixture(autouse=True)
def verbs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two more verbs, and reports in `tmp_path`."""
    monkeypatch.setitem(VERBS, "test", {"bug": f"{__name__}:bug", "full": f"{__name__}:full"})
    monkeypatch.setitem(conductor.cli.HELP, "test", "-")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(conductor.cli, "REPORTS", Path("/nonexistent"))


def command(*words: str, **popen: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "conductor", *words], text=True, check=False, **popen)


@pytest.fixture
def nobody_reads() -> Iterator[int]:
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("words", QUERIES, ids=" ".join)
def test_a_reader_who_has_left_is_no_failure(words: tuple[str, ...], nobody_reads: int) -> None:
    done = command(*words, stdout=nobody_reads, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", QUERIES, ids=" ".join)
def test_an_answer_that_cannot_be_written_is_one(words: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as stdout:
        done = command(*words, stdout=stdout, stderr=subprocess.PIPE)
    what = "go on" if "--help" in words else "write the answer"
    assert (done.returncode, done.stderr) == (1, f"error: cannot {what}: No space left on device\n")


def test_nobody_hears_the_error_either(nobody_reads: int) -> None:
    assert command("config", "check", "--config", "/none", stdout=nobody_reads, stderr=nobody_reads).returncode == 2


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_dev_null(closed: str, tmp_path: Path) -> None:
    code = (
        "import os, sys; from conductor.__main__ import open_closed_streams; open_closed_streams()\n"
        "print('unheard'); print('unheard', file=sys.stderr); sys.stdin.read()\n"
        "handle = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT)\n"
        "os.write(handle, f'{handle} {[os.path.exists(f\"/proc/self/fd/{n}\") for n in range(3)]}'.encode())\n"
    )
    there = tmp_path / "there"
    words = ["bash", "-c", f'exec "$0" -c "$1" "$2" {closed}', sys.executable, code, str(there)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    handle, _, opened = there.read_text().partition(" ")
    assert int(handle) > 2
    assert opened == "[True, True, True]"


def test_a_bug_leaves_a_report(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["test", "bug"]) == 3
    (report,) = tmp_path.glob("conductor-bug-*.txt")
    said = f"error: this is a bug in Conductor; please send in the report: {report}\n"
    assert capsys.readouterr().err == said
    assert "RuntimeError: the words of the error" in report.read_text()
    assert report.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("directory", ["/nonexistent", "/proc/sys"])
def test_a_bug_without_a_report_says_where(
    directory: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", directory)
    assert run(["test", "bug"]) == 3
    said = capsys.readouterr().err
    assert said.startswith(f"error: this is a bug in Conductor: RuntimeError at {__file__}:")
    assert said.endswith(" in bug (a report could not be written: no directory takes it)\n")
    assert "the words" not in said


def test_no_directory_for_temporary_files(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert run(["test", "bug"]) == 3
    assert "a report could not be written: FileNotFoundError" in capsys.readouterr().err


def test_a_full_disk_is_no_bug(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["test", "full"]) == 1
    assert capsys.readouterr().err == "error: cannot go on: No space left on device: /var/lib/x\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "words", [("service", "rollback"), ("service", "stop"), ("service", "status"), ("cron", "show")]
)
def test_one_service_is_one(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    """Of several the last one would be meant, and the others forgotten."""
    assert run([*words, "--id", "web", "--id", "worker"]) == 2
    assert "write --id once, not 2 times" in capsys.readouterr().err
