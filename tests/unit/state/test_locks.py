"""Locks: one holder at a time, named to others, and released when its process is killed."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.errors import BusyError, ConductorError, Interrupted
from conductor.state.locks import Locks
from tests.fakes.runtime import FakeCancellation

PRELUDE = """
import sys, time
from pathlib import Path
from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.state.locks import Locks

def locks(command, **options):
    return Locks(Path(sys.argv[1]), command, Clock(), SignalCancellation(), **options)
"""
HOLD = PRELUDE + """
with locks("service upgrade --id web").hold("web"):
    print("held", flush=True)
    time.sleep(30)
"""  # fmt: skip
INSPECT = PRELUDE + """
inspecting = locks("service status")
print("inspecting", flush=True)
while True:
    inspecting.holder("web")
"""  # fmt: skip
YIELD = PRELUDE + """
yielding = locks("supervise", yields=True)
with yielding.hold("web"):
    print("held", flush=True)
    while not yielding.has_waiters("web"):
        time.sleep(0.05)
    print("yields", flush=True)
"""  # fmt: skip


def locks(directory: Path, command: str = "test", *, yields: bool = False) -> Locks:
    return Locks(directory, command, Clock(), SignalCancellation(), yields=yields)


def python(script: str, directory: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", script, str(directory)], stdout=subprocess.PIPE, text=True)


def next_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock `web`."""
    with python(HOLD, tmp_path) as process:
        assert next_line(process) == "held"
        yield process
        process.kill()


def test_the_holder_is_named(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    with pytest.raises(BusyError) as busy, locks(tmp_path).hold("web"):
        pass
    found = busy.value.holder
    assert found is not None
    assert (found.pid, found.command, found.yields) == (holder.pid, "service upgrade --id web", False)
    assert 0 <= Clock().age(found.since) < 60
    assert locks(tmp_path).holder("web") == found
    assert locks(tmp_path).is_held("web")
    assert busy.value.code == 5


def test_another_name_is_another_lock(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    with locks(tmp_path).hold("worker"):
        assert holder.poll() is None


def test_a_waiting_process_gets_the_lock_when_the_holder_is_killed(
    tmp_path: Path, holder: "subprocess.Popen[str]"
) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    with locks(tmp_path).hold("web", wait_seconds=5):
        found = locks(tmp_path).holder("web")
        assert found is not None
        assert found.pid == os.getpid()
    assert locks(tmp_path).holder("web") is None
    assert not locks(tmp_path).is_held("web")


def test_the_time_of_a_wait_is_counted(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    ours = locks(tmp_path)
    with ours.hold("worker"):
        assert ours.waited == 0
    threading.Timer(0.2, holder.terminate).start()
    with ours.hold("web", wait_seconds=60):
        assert ours.waited == ours.take_waited() > 0
    assert ours.waited == 0


def test_held_has_the_names_of_the_locks_that_this_process_holds(tmp_path: Path) -> None:
    ours = locks(tmp_path)
    with ours.hold("web"), ours.hold("nginx"):
        assert ours.held == {"web", "nginx"}
    assert ours.held == set()


def test_inspecting_a_lock_makes_it_busy_for_no_process(tmp_path: Path) -> None:
    with locks(tmp_path).hold("web"):
        pass
    with python(INSPECT, tmp_path) as process:
        next_line(process)
        try:
            for _ in range(3000):
                with locks(tmp_path).hold("web"):
                    pass
        finally:
            process.kill()


def test_a_process_that_inspects_a_lock_for_long_makes_it_busy_for_no_process(tmp_path: Path) -> None:
    with locks(tmp_path).hold("web"):
        pass
    handle = os.open(tmp_path / "web.lock", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_SH)  # as `is_held` does, before a busy machine takes the CPU from it
    ended = threading.Timer(0.5, os.close, [handle])
    ended.start()
    with locks(tmp_path).hold("web"):
        pass
    ended.join()


def test_a_killed_holder_is_not_named(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    holder.kill()
    holder.wait()
    handle = os.open(tmp_path / "web.lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)  # a new holder that has not written its name yet
    try:
        assert locks(tmp_path).is_held("web")
        assert locks(tmp_path).holder("web") is None
        with pytest.raises(BusyError) as busy, locks(tmp_path).hold("web"):
            pass
        assert busy.value.holder is None
        assert busy.value.sentence == "cannot lock web: another process holds the lock"
    finally:
        os.close(handle)


def test_a_holder_that_yields_sees_the_waiting_command_and_is_waited_for(tmp_path: Path) -> None:
    with python(YIELD, tmp_path) as process:
        try:
            assert next_line(process) == "held"
            assert not locks(tmp_path).has_waiters("web")
            with pytest.raises(BusyError) as busy, locks(tmp_path, "supervise", yields=True).hold("web"):
                pass  # one that yields never makes another wait
            assert busy.value.holder is not None
            assert busy.value.holder.yields
            assert not locks(tmp_path).has_waiters("web")
            command = locks(tmp_path, "service upgrade --id web")
            with command.hold("web"):
                assert next_line(process) == "yields"
                assert not locks(tmp_path).has_waiters("web")
            assert command.take_waited() > 0.0
            assert command.take_waited() == 0.0, "each wait is counted once"
        finally:
            process.kill()


def test_a_holder_that_does_not_yield_is_not_waited_for(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    began = time.monotonic()
    with pytest.raises(BusyError), locks(tmp_path, "service upgrade --id web").hold("web"):
        pass
    assert time.monotonic() - began < 10


def test_a_wait_for_a_lock_can_be_interrupted(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    waiting = Locks(tmp_path, "test", Clock(), FakeCancellation(stop_at=3))
    with pytest.raises(Interrupted), waiting.hold("web", wait_seconds=60):
        pass
    assert waiting.held == set()
    assert not locks(tmp_path).has_waiters("web")


def test_a_lock_that_cannot_be_read_does_not_count_as_free(tmp_path: Path) -> None:
    (tmp_path / "locks").write_text("a file in the place of the directory")
    for inspect in (locks(tmp_path / "locks").is_held, locks(tmp_path / "locks").holder):
        with pytest.raises(ConductorError):
            inspect("web")


def test_a_lock_is_shared_while_nobody_holds_it(tmp_path: Path) -> None:
    sharing, holding = locks(tmp_path), locks(tmp_path)
    shared = sharing.share("images.use"), holding.share("images.use")
    with shared[0], shared[1], pytest.raises(BusyError), holding.hold("images.use"):
        pass
    with holding.hold("images.use"), pytest.raises(BusyError) as busy, sharing.share("images.use"):
        pass
    assert busy.value.sentence.startswith("cannot lock the images: process ")
    with holding.hold("images.use"):
        pass


def test_a_waiting_sharer_is_a_waiter(tmp_path: Path) -> None:
    holding, seen = locks(tmp_path), threading.Event()

    def share() -> None:
        with locks(tmp_path).share("images.use", 10.0):
            seen.set()

    with holding.hold("images.use"):
        thread = threading.Thread(target=share)
        thread.start()
        until = time.monotonic() + 10
        while not holding.has_waiters("images.use"):
            assert time.monotonic() < until
        assert not seen.is_set()
    thread.join(10)
    assert seen.is_set()
