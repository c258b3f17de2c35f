"""The command of a notification as a real process: what it gets, how it fails, and what is left of it."""

import contextlib
import json
import os
import time
from pathlib import Path

import pytest

from conductor.errors import ConductorError
from conductor.notify.command import ENVIRONMENT, SHOWN_CHARACTERS, run

DOCUMENT = b'{"version": 1}\n'
LARGE = b"x" * 200_000  # more than a pipe holds


def shell(script: str, *, document: bytes = DOCUMENT, seconds: float = 10.0, secret: str = "hunter2") -> None:
    run(["/bin/sh", "-c", script], document, seconds, lambda text: text.replace(secret, "[secret]"))


def failure(script: str, *, seconds: float = 10.0) -> str:
    with pytest.raises(ConductorError) as caught:
        shell(script, seconds=seconds)
    return caught.value.sentence


def test_it_gets_the_document_and_a_clean_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    shell(f"cat >{tmp_path}/document; env >{tmp_path}/environment; pwd >{tmp_path}/directory; echo out; echo err >&2")
    assert json.loads((tmp_path / "document").read_text()) == {"version": 1}
    found = dict(line.split("=", 1) for line in (tmp_path / "environment").read_text().splitlines())
    assert {name: found[name] for name in ENVIRONMENT} == ENVIRONMENT
    assert set(found) - set(ENVIRONMENT) <= {"PWD", "SHLVL", "_", "OLDPWD"}  # of the shell
    assert (tmp_path / "directory").read_text() == "/\n"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("script", ["true", "exec <&-", "head -c 5 >/dev/null", "cat >/dev/null"])
def test_it_need_not_read_the_document(script: str) -> None:
    shell(script, document=LARGE)


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        ("exit 3", "/bin/sh exited with code 3"),
        ("echo one >&2; echo two hunter2 >&2; exit 1", "/bin/sh exited with code 1: one two [secret]"),
        ("echo out; exit 1", "/bin/sh exited with code 1"),
        ("kill -KILL $$", "/bin/sh was killed by signal 9"),
        ("exec 2>&-; exit 4", "/bin/sh exited with code 4"),
        (f"printf 'a%.0s' $(seq {2 * SHOWN_CHARACTERS}) >&2; exit 1",
            f"/bin/sh exited with code 1: …{'a' * SHOWN_CHARACTERS}"),
        ("head -c 300000 /dev/zero | tr '\\0' b >&2; echo ' end' >&2; exit 1",
            f"/bin/sh exited with code 1: …{'b' * (SHOWN_CHARACTERS - 4)} end"),
    ],
)  # fmt: skip
def test_a_failure_has_the_end_of_stderr(script: str, sentence: str) -> None:
    assert failure(script) == sentence


def test_a_command_that_cannot_be_run(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("#!/bin/sh\n")
    for path, cause in (("/nonexistent", "No such file or directory"), (str(tmp_path / "plain"), "Permission denied")):
        with pytest.raises(ConductorError) as caught:
            run([path], DOCUMENT, 10, str)
        assert caught.value.sentence == f"cannot run {path}: {cause}"


def await_end_of(path: Path) -> None:
    """Wait for the end of the process whose id is in the file."""
    pid, until = int(path.read_text()), time.monotonic() + 20
    while not has_ended(pid):
        assert time.monotonic() < until, f"process {pid} still runs"
        time.sleep(0.005)


def has_ended(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def test_the_whole_group_is_killed_after_the_timeout(tmp_path: Path) -> None:
    began = time.monotonic()
    sentence = failure(f"trap '' TERM; sleep 60 & echo $! >{tmp_path}/pid; echo busy >&2; wait", seconds=2)
    assert sentence == "/bin/sh did not finish within 2s and was killed: busy"
    assert time.monotonic() - began < 60
    await_end_of(tmp_path / "pid")


def test_a_process_in_the_background_delays_nothing_and_is_killed(tmp_path: Path) -> None:
    began = time.monotonic()
    shell(f"sleep 60 & echo $! >{tmp_path}/pid")  # which inherits stderr
    assert time.monotonic() - began < 10  # the timeout
    await_end_of(tmp_path / "pid")


def test_it_runs_in_a_session_of_its_own(tmp_path: Path) -> None:
    shell(f"cut -d' ' -f5,6 /proc/$$/stat >{tmp_path}/ids; echo $$ >{tmp_path}/pid")
    pid = (tmp_path / "pid").read_text().strip()
    assert (tmp_path / "ids").read_text().split() == [pid, pid]  # no Ctrl-C of the caller's terminal reaches it
    assert int(pid) != os.getpgrp()
