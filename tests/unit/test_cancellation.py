"""Signals: raised at once, never lost, deferred inside a shield, only reported after the commit, and never a hang."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.cancellation import ALREADY_COMMITTED, SignalCancellation
from conductor.errors import Interrupted

# Sends SIGINT to its parent until its stdin ends, reports that on stdout, then sends one SIGTERM.
SENDER = """
import os, select, signal, sys, time
parent = os.getppid()
while not select.select([sys.stdin], [], [], 0)[0]:
    for _ in range(50):
        os.kill(parent, signal.SIGINT)
        time.sleep(0.0001)
    time.sleep(0.002)
print("ended", flush=True)
time.sleep(0.3)
os.kill(parent, signal.SIGTERM)
"""
RECEIVER = """
import subprocess, sys, time
from conductor.cancellation import SignalCancellation
from conductor.errors import Interrupted

cancellation, raised, waits, notices = SignalCancellation(), 0, 0, []
cancellation.on_deferred = notices.append
cancellation.listen()
sender = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
until = time.monotonic() + 1.5
while time.monotonic() < until or waits < 1000 or min(raised, len(notices)) < 100:
    try:
        cancellation.wait(0.0003)
    except Interrupted:
        raised += 1
    with cancellation.shielded("not now"):
        cancellation.wait(0.0003)
    waits += 2
sender.stdin.close()
sender.stdout.readline()
began = time.monotonic()
while True:
    try:
        cancellation.wait(20)
    except Interrupted as error:
        if error.code == 143:
            break
print(waits, raised, len(notices), round(time.monotonic() - began, 2))
"""


@pytest.fixture
def cancellation() -> Iterator[SignalCancellation]:
    """A listening one. The handlers of pytest are restored."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    made = SignalCancellation()
    made.listen()
    yield made
    made.stop_listening()
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def notices(cancellation: SignalCancellation) -> list[str]:
    """The notices of deferred signals."""
    found: list[str] = []
    cancellation.on_deferred = found.append
    return found


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_thousands_of_short_waits_during_thousands_of_signals() -> None:
    done = subprocess.run(
        [sys.executable, "-c", RECEIVER, SENDER], capture_output=True, text=True, timeout=90, check=True
    )
    waits, raised, notices, last = done.stdout.split()
    assert int(waits) >= 1000
    assert int(raised) >= 100
    assert int(notices) >= 100
    assert float(last) < 20


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_wait_at_once_and_is_raised_once(cancellation: SignalCancellation, number: int) -> None:
    threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
    began = time.monotonic()
    with pytest.raises(Interrupted) as interrupted:
        cancellation.wait(20)
    assert time.monotonic() - began < 2
    assert interrupted.value.code == 128 + number
    cancellation.check()
    began = time.monotonic()
    cancellation.wait(0.05)
    assert time.monotonic() - began >= 0.05


def test_a_lost_terminal_does_not_interrupt(cancellation: SignalCancellation) -> None:
    os.kill(os.getpid(), signal.SIGHUP)
    cancellation.wait(0.01)


def test_a_shield_defers_a_signal(cancellation: SignalCancellation, notices: list[str]) -> None:
    with cancellation.shielded("rolling back, one moment"):
        interrupt()
        began = time.monotonic()
        cancellation.wait(0.05)
        cancellation.check()
        assert time.monotonic() - began >= 0.05
        assert notices == ["rolling back, one moment"]
    with pytest.raises(Interrupted):
        cancellation.check()
    cancellation.check()


def test_shields_nest_and_the_notice_is_that_of_the_outermost(
    cancellation: SignalCancellation, notices: list[str]
) -> None:
    with cancellation.shielded("outer"):
        with cancellation.shielded("inner"):
            interrupt()
        cancellation.check()
        interrupt()
        cancellation.check()
    assert notices == ["outer", "outer"]
    with pytest.raises(Interrupted):
        cancellation.wait(0)


def test_a_signal_just_before_a_shield_is_not_lost(cancellation: SignalCancellation, notices: list[str]) -> None:
    interrupt()
    with cancellation.shielded("one moment"):
        cancellation.wait(0)
    assert notices == ["one moment"]
    with pytest.raises(Interrupted):
        cancellation.check()


def test_an_error_ends_a_shield(cancellation: SignalCancellation) -> None:
    with pytest.raises(ValueError, match="x"), cancellation.shielded("one moment"):
        raise ValueError("x")
    interrupt()
    with pytest.raises(Interrupted):
        cancellation.check()


def test_after_the_commit_signals_are_only_reported(cancellation: SignalCancellation, notices: list[str]) -> None:
    with cancellation.shielded("one moment"):
        interrupt()
        cancellation.check()
    cancellation.committed()
    cancellation.wait(0.01)
    with cancellation.shielded("one moment"):
        cancellation.check()
    assert notices == ["one moment", ALREADY_COMMITTED]
    interrupt()
    with cancellation.shielded("one moment"):
        cancellation.check()
    cancellation.check()
    assert notices == ["one moment", ALREADY_COMMITTED, ALREADY_COMMITTED]


def test_signals_are_ignored_once_it_has_stopped_listening(cancellation: SignalCancellation) -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    cancellation.stop_listening()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors - 2
    interrupt()
    cancellation.wait(0.01)
    cancellation.stop_listening()


def test_it_waits_without_listening() -> None:
    cancellation = SignalCancellation()
    began = time.monotonic()
    cancellation.wait(0.05)
    assert time.monotonic() - began >= 0.05
    cancellation.wait(-1)
    cancellation.check()


def test_another_thread_can_wait(cancellation: SignalCancellation) -> None:
    waited: list[float] = []

    def wait() -> None:
        began = time.monotonic()
        cancellation.wait(0.01)
        waited.append(time.monotonic() - began)

    thread = threading.Thread(target=wait)
    thread.start()
    thread.join()
    assert [seconds >= 0.01 for seconds in waited] == [True]


def test_a_signal_that_the_caller_ignores_stays_ignored() -> None:
    """A script ignores SIGINT for a command in the background."""
    script = """
import os, signal
from conductor.cancellation import SignalCancellation
cancellation = SignalCancellation()
cancellation.listen()
os.kill(os.getpid(), signal.SIGINT)
cancellation.check()
print("continued")
"""
    words = [sys.executable, "-c", script]
    done = subprocess.run(
        words, preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN), capture_output=True, text=True,
        timeout=30, check=False,
    )  # fmt: skip
    assert done.stdout == "continued\n"
