"""The signals that a task's process receives, in a process of its own."""

import signal
import subprocess
import sys
from collections.abc import Collection

import pytest

SCRIPT = """
import os, sys
from conductor.cancellation import SignalCancellation
from conductor.tasks.signals import Signals

SignalCancellation().listen()
signals = Signals(terminal=sys.argv[1] == "terminal")
for number in map(int, sys.argv[2:]):
    os.kill(os.getpid(), number)
print(*signals.wait(0))
"""
SENT = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1)


def received(*, terminal: bool, ignored: Collection[int] = ()) -> set[int]:
    """Return which of `SENT` are received when the caller ignores `ignored`."""

    def ignore() -> None:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)

    words = [sys.executable, "-c", SCRIPT, "terminal" if terminal else "-", *(str(int(number)) for number in SENT)]
    done = subprocess.run(words, preexec_fn=ignore, capture_output=True, text=True, timeout=30, check=True)
    return set(map(int, done.stdout.split()))


@pytest.mark.parametrize("terminal", [True, False])
def test_a_hangup_is_received_only_with_a_terminal(terminal: bool) -> None:
    assert received(terminal=terminal) == set(SENT) - ({signal.SIGHUP} if not terminal else set())


def test_ignored_signals_stay_ignored() -> None:
    """`nohup` ignores SIGHUP; a script ignores SIGINT and SIGQUIT for a command in the background."""
    ignored = {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT}
    assert received(terminal=True, ignored=ignored) == {signal.SIGTERM, signal.SIGUSR1}
