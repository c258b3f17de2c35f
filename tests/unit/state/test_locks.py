"""Locks: one holder, named to others, freed when it dies."""

import fcntl
import os
import signal
import subprocess
import sys
import time

import pytest

from conductor.clock import Clock
from conductor.errors import BusyError
from conductor.state.locks import Locks

HOLD = (
    "import sys, time; from pathlib import Path; from conductor.clock import Clock; from conductor.state.locks import Locks\n"
    "with Locks(Path(sys.argv[1]), 'service upgrade --id web', Clock()).hold('web'):\n"
    "    print('held', flush=True); time.sleep(30)"
)

LOOK = (
    "import sys; from pathlib import Path; from conductor.clock import Clock; from conductor.state.locks import Locks\n"
    "locks = Locks(Path(sys.argv[1]), 'service status', Clock())\n"
    "print('looks', flush=True)\n"
    "while True: locks.holder('web')"
)


YIELD = HOLD.replace("service upgrade --id web", "supervise").replace(
    "time.sleep(30)",
    """
    locks = Locks(Path(sys.argv[1]), 'supervise', Clock())
    while not locks.wanted('web'): time.sleep(0.05)
    print('asked', flush=True)""",
)


@pytest.fixture
def holder(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def locks(tmp_path, command="me"):
    return Locks(tmp_path, command, Clock())


def test_the_holder_is_named(tmp_path, holder):
    with pytest.raises(BusyError) as caught, locks(tmp_path).hold("web"):
        pass
    assert f"process {holder.pid} (service upgrade --id web) has held it since 20" in caught.value.sentence
    assert caught.value.exit_code == 5
    assert str(holder.pid) in (locks(tmp_path).holder("web") or "")


def test_another_name_is_another_lock(tmp_path, holder):
    with locks(tmp_path).hold("worker"):
        assert holder.poll() is None


def test_a_waiter_gets_it_when_the_holder_is_killed(tmp_path, holder):
    os.kill(holder.pid, signal.SIGKILL)
    with locks(tmp_path).hold("web", wait_seconds=5):
        assert str(os.getpid()) in (locks(tmp_path).holder("web") or "")
    assert locks(tmp_path).holder("web") is None


def test_who_only_looks_makes_nobody_busy(tmp_path):
    with locks(tmp_path).hold("web"):
        pass
    with subprocess.Popen([sys.executable, "-c", LOOK, str(tmp_path)], stdout=subprocess.PIPE) as looker:
        looker.stdout.readline()
        try:
            for _ in range(3000):
                with locks(tmp_path).hold("web"):
                    pass
        finally:
            looker.kill()


def test_a_dead_holder_is_not_named(tmp_path, holder):
    holder.kill()
    holder.wait()
    handle = os.open(tmp_path / "web.lock", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)  # a new holder that has not said yet who it is
    try:
        assert locks(tmp_path).holder("web") == "another process holds it"
        with pytest.raises(BusyError) as caught, locks(tmp_path).hold("web"):
            pass
        assert caught.value.sentence == "cannot lock web: another process holds it"
    finally:
        os.close(handle)


def test_supervise_sees_who_waits_and_is_waited_for_unasked(tmp_path):
    with subprocess.Popen([sys.executable, "-c", YIELD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            assert not locks(tmp_path).wanted("web")
            with pytest.raises(BusyError), locks(tmp_path, "supervise").hold("web"):
                pass  # it never waits itself
            assert not locks(tmp_path).wanted("web")
            with locks(tmp_path, "service upgrade --id web").hold("web"):
                assert process.stdout.readline() == "asked\n"
                assert not locks(tmp_path).wanted("web")
        finally:
            process.kill()


def test_another_commands_lock_is_not_waited_for(tmp_path, holder):
    began = time.monotonic()
    with pytest.raises(BusyError), locks(tmp_path, "service upgrade --id web").hold("web"):
        pass
    assert time.monotonic() - began < 10
