"""Signals for a task: the main thread reads the number of each one from a pipe. Other threads wake it through the same pipe."""

import os
import select
import signal

from conductor.cancellation import IGNORED

# Not forwarded to the task: signals about children, job control and faults of this process.
_NOT_FORWARDED = {
    signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGCONT, signal.SIGTSTP,
    signal.SIGTTIN, signal.SIGTTOU, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT,
    signal.SIGTRAP, signal.SIGSYS,
}  # fmt: skip
RESIZED, HANGUP = int(signal.SIGWINCH), int(signal.SIGHUP)
STOP_REQUESTS = {int(signal.SIGINT), int(signal.SIGTERM)}
ENDING_SIGNALS = {*STOP_REQUESTS, int(signal.SIGQUIT), HANGUP}
LONGEST_POLL_SECONDS = 3600.0  # poll() counts milliseconds in an int
_WAKE = b"\0"


class Signals:
    """Receives signals from its creation on. The main thread creates it and waits.

    Signals that the caller ignores stay ignored. Without `terminal`, SIGHUP is ignored too, so that a lost SSH connection
    does not stop the task.
    """

    def __init__(self, *, terminal: bool) -> None:
        self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in signal.valid_signals() - _NOT_FORWARDED - IGNORED:
            signal.signal(number, _ignore)
        if not terminal:
            signal.signal(HANGUP, signal.SIG_IGN)

    def wait(self, seconds: float | None) -> list[int]:
        """Return the numbers of the received signals. Return none after `wake`, or when the time is over."""
        poll = select.poll()
        poll.register(self._pipe[0], select.POLLIN)
        if not poll.poll(None if seconds is None else max(0.0, min(seconds, LONGEST_POLL_SECONDS)) * 1000):
            return []
        return [number for number in os.read(self._pipe[0], 4096) if number]

    def wake(self) -> None:
        """End the main thread's `wait`. Called by other threads."""
        try:
            os.write(self._pipe[1], _WAKE)
        except BlockingIOError:
            return  # the pipe is full, so the main thread wakes up anyway


def _ignore(_number: int, _frame: object) -> None:
    """Do nothing: Python has written the number to the pipe."""
