"""Signals on their way to a task: each arrives as its number at a pipe, and so does the news of our own threads."""

import os
import select
import signal

# Ours to keep: children, job control, and what a fault of our own would raise. All others are the task's.
_OURS = {
    signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, signal.SIGPIPE, signal.SIGURG, signal.SIGCONT, signal.SIGTSTP,
    signal.SIGTTIN, signal.SIGTTOU, signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGABRT,
    signal.SIGTRAP, signal.SIGSYS,
}  # fmt: skip
RESIZED, HANGUP = int(signal.SIGWINCH), int(signal.SIGHUP)
INSISTING = {int(signal.SIGINT), int(signal.SIGTERM)}
ENDING = {*INSISTING, int(signal.SIGQUIT), HANGUP}
_NEWS = b"\0"


class Signals:
    """Listens from when it is made; the main thread makes it and waits."""

    def __init__(self) -> None:
        self._pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)
        for number in signal.valid_signals() - _OURS:
            signal.signal(number, _noted)

    def wait(self, seconds: float | None) -> list[int]:
        """Numbers of the signals that have come; returns also, with none, when there is news or the time is over."""
        poll = select.poll()
        poll.register(self._pipe[0], select.POLLIN)
        if not poll.poll(None if seconds is None else max(0.0, min(seconds, 3600.0)) * 1000):
            return []
        return [number for number in os.read(self._pipe[0], 4096) if number]

    def news(self) -> None:
        """Called by other threads: there is something to see for whoever waits."""
        try:
            os.write(self._pipe[1], _NEWS)
        except BlockingIOError:
            return  # full of other news


def _noted(_number: int, _frame: object) -> None:
    """The number is in the pipe already."""
