"""Interruptions: Ctrl-C, SIGTERM, a lost SSH connection, a closed pipe, replaced definitions."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.commands import Result, Spawned
from tests.support.host import TestHost, merged
from tests.support.odd_clients import EarlyBird, SlowUpload

pytestmark = pytest.mark.both_ways

STUCK = merged(QUICK, {"env": {"FAULT_r2": "never"}, "health": {"start_timeout": "30s"}})
SLOW_BOOT = merged(QUICK, {"env": {"BOOT": "1.5"}, "health": {"start_timeout": "10s"}})
Uploading = Callable[[], SlowUpload]
LONG_ANNOUNCE = {"nginx": {"announce": "2s"}}  # as long as a client stays idle, which `EarlyBird` does


def begin(host: TestHost, *more: str, **popen: Any) -> Spawned:
    """Start the upgrade that is interrupted."""
    return host.spawn("service", "upgrade", "--id", "web", "--revision", "r2", *more, **popen)


def rolled_back(host: TestHost, result: Result, code: int) -> None:
    """Check that the interrupted upgrade was rolled back, and that its error and the history record it."""
    failed(
        result,
        code,
        "error: interrupted\n",
        "the upgrade of web was rolled back",
        "web is still running r1 with 1 replica",
    )
    nothing_left_behind(host, "r1")
    last = host.history()[-1]
    assert (last["action"], last["outcome"], last["to"]) == ("upgrade", "interrupted", "r2")


def at_the_gate(host: TestHost) -> None:
    """Wait until the new container runs."""
    host.wait_for(lambda: host.revisions() == ["r1", "r2"], "the gate")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_at_the_gate_rolls_back(serving: TestHost, number: int, code: int) -> None:
    serving.define({"web": STUCK})
    upgrade = begin(serving)
    at_the_gate(serving)
    upgrade.signal(number)
    result = upgrade.wait(20)
    rolled_back(serving, result, code)
    assert "roll back the upgrade of web" in result.stderr
    assert result.seconds < 30  # the start timeout


def test_more_ctrl_c_do_not_stop_the_rollback(serving: TestHost) -> None:
    serving.define({"web": STUCK})
    upgrade = begin(serving)
    at_the_gate(serving)
    upgrade.signal(signal.SIGINT)
    while upgrade.running():
        upgrade.signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            upgrade.process.wait(0.05)
    rolled_back(serving, upgrade.wait(20), 130)


@pytest.mark.by_reload
def test_a_signal_during_the_announce_rolls_back(serving: TestHost) -> None:
    """nginx's files are new on disk by then, and are restored."""
    serving.define({"web": QUICK}, host_extra=LONG_ANNOUNCE)
    flag = serving.runtime_dir / "nginx" / "announce"
    with contextlib.closing(EarlyBird(serving.url())):
        upgrade = begin(serving)
        serving.wait_for(flag.exists, "the announce")
        upgrade.signal(signal.SIGINT)
        rolled_back(serving, upgrade.wait(20), 130)


def test_while_waiting_for_the_lock(serving: TestHost) -> None:
    """The waiting command ends; the running upgrade is not disturbed."""
    serving.define({"web": SLOW_BOOT})
    first = begin(serving)
    at_the_gate(serving)
    second = serving.spawn("service", "upgrade", "--id", "web", "--revision", "r3", "--wait", "1m")
    serving.wait_for(lambda: _listens(second.pid), "the second's handlers")
    second.signal(signal.SIGINT)
    failed(second.wait(10), 130, "error: interrupted")
    first.wait(20).expect(0)
    nothing_left_behind(serving, "r2")


def _listens(pid: int) -> bool:
    """True once it catches SIGTERM, which Python by itself does not."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt:")).split()[1]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.by_reload
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_commit_is_answered_and_the_upgrade_finishes(
    serving: TestHost, uploading: Uploading, number: int
) -> None:
    upload = uploading()
    upgrade = begin(serving)
    serving.wait_for(lambda: "   drain  " in upgrade.stderr, "the drain")
    upgrade.signal(number)
    serving.wait_for(lambda: "already committed: finishing the change\n" in upgrade.stderr, "the answer")
    assert upgrade.running()
    assert upload.result(10).revision == "r1"
    result = upgrade.wait(20).expect(0)
    assert result.stderr.count("already committed: finishing the change") == 1
    assert "web is running r2 with 1 replica" in result.stderr
    nothing_left_behind(serving, "r2")


def test_a_lost_ssh_connection_sends_sighup_and_stops_nothing(serving: TestHost) -> None:
    serving.define({"web": SLOW_BOOT})
    upgrade = begin(serving)
    at_the_gate(serving)
    for _ in range(3):
        upgrade.signal(signal.SIGHUP)
    upgrade.wait(20).expect(0)
    nothing_left_behind(serving, "r2")


@pytest.fixture
def pipe() -> Iterator[tuple[FileIO, FileIO]]:
    """The ends to read and to write."""
    with contextlib.ExitStack() as stack:
        reader, writer = (stack.enter_context(FileIO(end, mode)) for end, mode in zip(os.pipe(), "rw", strict=True))
        yield reader, writer


@pytest.mark.parametrize("words", [(), ("--json",)], ids=["text", "json"])
def test_a_pipe_that_closes_after_the_first_line(
    serving: TestHost, pipe: tuple[FileIO, FileIO], words: tuple[str, ...]
) -> None:
    """Both streams are that pipe, as with `ssh host conductor … | head -1`."""
    reader, writer = pipe
    serving.define({"web": SLOW_BOOT})
    upgrade = begin(serving, *words, stdout=writer, stderr=writer)
    writer.close()
    first = reader.read(1000)
    assert b"start 1 replica of web r2" in first
    reader.close()
    upgrade.wait(30).expect(0)
    nothing_left_behind(serving, "r2")


def test_exit_codes_into_a_closed_pipe(serving: TestHost, pipe: tuple[FileIO, FileIO]) -> None:
    reader, writer = pipe
    reader.close()
    serving.define({"web": merged(QUICK, {"env": {"FAULT_r2": "exit"}})})
    begin(serving, stdout=writer, stderr=writer).wait(20).expect(1)
    nothing_left_behind(serving, "r1")
    for words, code in ((("service", "list"), 0), (("service", "upgrade"), 2), (("config", "example"), 0)):
        serving.conductor(*words, stdout=writer, stderr=writer).expect(code)


def close_the_standard_streams() -> None:
    """As `conductor … <&- >&- 2>&-`."""
    for number in (0, 1, 2):
        os.close(number)


def test_streams_that_were_never_open(serving: TestHost) -> None:
    """No file that is opened later takes their place, or output of nginx and the shell would go into it."""
    serving.upgrade("r2", preexec_fn=close_the_standard_streams).expect(0)
    nothing_left_behind(serving, "r2")
    for lock in (serving.runtime_dir / "locks").glob("*.lock"):
        assert lock.read_text() == ""  # a holder removes its own name, and nothing else


@pytest.mark.parametrize("text", ["version: 1\nservices: {web: [}\n", None], ids=["broken", "another"])
def test_definitions_replaced_while_it_runs(serving: TestHost, text: str | None) -> None:
    """The upgrade uses the definitions that it read at its start."""
    serving.define({"web": merged(QUICK, {"env": {"BOOT": "1", "COLOUR": "red"}, "health": {"start_timeout": "10s"}})})
    upgrade = serving.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    serving.wait_for(lambda: serving.revisions() == ["r1", "r2"], "the gate")
    if text:
        serving.define_raw(text)
    else:
        serving.define({"web": merged(QUICK, {"count": 2, "env": {"COLOUR": "blue"}})})
    assert "web is running r2 with 1 replica" in upgrade.wait(30).expect(0).stderr
    live = (serving.wanted() or {})["release"]
    assert (live["definition"]["env"]["COLOUR"], live["definition"]["count"]) == ("red", 1)
    nothing_left_behind(serving, "r2")
