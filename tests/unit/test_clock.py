"""Signals: heard at once, never lost, deferred under a shield, told after the commit; and never a hang."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.clock import TOO_LATE, Clock
from conductor.errors import Interrupted

# Sends as many as it can while its parent waits thousands of times, then says so, then sends one last of another kind.
RAIN = """
import os, signal, sys, time
until = time.monotonic() + 1.5
while time.monotonic() < until:
    for _ in range(50):
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(0.0001)
    time.sleep(0.002)
print("dry", flush=True)
time.sleep(0.3)
os.kill(os.getppid(), signal.SIGTERM)
"""
STRESS = """
import subprocess, sys, threading, time
from conductor.clock import Clock
from conductor.errors import Interrupted

clock, caught, waits, told = Clock(), 0, 0, []
clock.on_late_signal = told.append
clock.listen()
rain = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
dry = threading.Event()
threading.Thread(target=lambda: (rain.stdout.readline(), dry.set()), daemon=True).start()
while not dry.is_set():
    try:
        clock.wait(0.0003)
    except Interrupted:
        caught += 1
    with clock.shielded("not now"):
        clock.wait(0.0003)
    waits += 2
began = time.monotonic()
while True:
    try:
        clock.wait(10)
    except Interrupted as error:
        if error.code == 143:
            break
print(waits, caught, len(told), round(time.monotonic() - began, 2))
"""


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A listening one; pytest's own handlers come back."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    made = Clock()
    made.listen()
    yield made
    made.stop_listening()
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def told(clock: Clock) -> list[str]:
    words: list[str] = []
    clock.on_late_signal = words.append
    return words


def ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_thousands_of_short_waits_in_a_rain_of_signals() -> None:
    done = subprocess.run([sys.executable, "-c", STRESS, RAIN], capture_output=True, text=True, timeout=30, check=True)
    waits, caught, told, last = done.stdout.split()
    assert int(waits) > 1000
    assert int(caught) > 100
    assert int(told) > 100
    assert float(last) < 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_wait_ends_at_once(clock: Clock, number: int) -> None:
    threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
    began = time.monotonic()
    with pytest.raises(Interrupted) as caught:
        clock.wait(20)
    assert time.monotonic() - began < 2
    assert caught.value.code == 128 + number
    clock.check()  # that signal is used up
    began = time.monotonic()
    clock.wait(0.05)
    assert time.monotonic() - began >= 0.05


def test_a_shield_defers(clock: Clock, told: list[str]) -> None:
    with clock.shielded("undoing, one moment"):
        ctrl_c()
        began = time.monotonic()
        clock.wait(0.05)
        clock.check()
        assert time.monotonic() - began >= 0.05
        assert told == ["undoing, one moment"]
    with pytest.raises(Interrupted):
        clock.check()
    clock.check()


def test_shields_nest_and_the_outermost_speaks(clock: Clock, told: list[str]) -> None:
    with clock.shielded("outer"):
        with clock.shielded("inner"):
            ctrl_c()
        clock.check()
        ctrl_c()
        clock.check()
    assert told == ["outer", "outer"]
    with pytest.raises(Interrupted):
        clock.wait(0)


def test_a_signal_just_before_a_shield_is_not_lost(clock: Clock, told: list[str]) -> None:
    ctrl_c()
    with clock.shielded("one moment"):
        clock.wait(0)
    assert told == ["one moment"]
    with pytest.raises(Interrupted):
        clock.check()


def test_a_shield_ends_with_its_error(clock: Clock) -> None:
    with pytest.raises(ValueError, match="x"), clock.shielded("one moment"):
        raise ValueError("x")
    ctrl_c()
    with pytest.raises(Interrupted):
        clock.check()


def test_after_the_commit_signals_are_only_told(clock: Clock, told: list[str]) -> None:
    with clock.shielded("one moment"):
        ctrl_c()
        clock.check()
    clock.finishing()
    clock.wait(0.01)
    assert told == ["one moment", TOO_LATE]
    ctrl_c()
    with clock.shielded("one moment"):
        clock.check()
    clock.check()
    assert told == ["one moment", TOO_LATE, TOO_LATE]


def test_after_it_stopped_listening_nothing_counts(clock: Clock) -> None:
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    clock.stop_listening()
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors - 2
    ctrl_c()
    clock.wait(0.01)
    clock.stop_listening()


def test_without_listening() -> None:
    clock = Clock()
    began = clock.monotonic()
    clock.wait(0.05)
    assert clock.monotonic() - began >= 0.05
    clock.wait(-1)
    clock.check()


def test_another_thread_may_ask_for_the_time_and_wait(clock: Clock) -> None:
    seen: list[object] = []

    def ask() -> None:
        clock.wait(0.01)
        seen.extend((clock.monotonic(), clock.now()))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert len(seen) == 2
