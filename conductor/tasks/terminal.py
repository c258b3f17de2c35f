"""The user's terminal while a task has it: raw, and as it was before on every way out."""

import contextlib
import os
import signal
import sys
import termios
import tty
from collections.abc import Iterator


def is_terminal() -> bool:
    """Whether keys come from a terminal and the screen is one."""
    return os.isatty(0) and os.isatty(1)


def size() -> tuple[int, int]:
    """Rows and columns."""
    columns, rows = os.get_terminal_size(0)
    return rows, columns


@contextlib.contextmanager
def raw() -> Iterator[None]:
    """Keys go to the task as they are typed, Ctrl-C too.

    What puts the terminal back is a process of its own that waits for our end, however we end: kill -9 cannot be caught.
    """
    before = termios.tcgetattr(0)
    watched, ours = os.pipe()
    guardian = os.fork()
    if guardian == 0:
        os.close(ours)
        _restore_at_the_end_of(watched, before)
    os.close(watched)
    tty.setraw(0, termios.TCSADRAIN)
    try:
        yield
    finally:
        os.close(ours)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(guardian, 0)


def _restore_at_the_end_of(pipe: int, before: list[object]) -> None:
    """Of the guardian: in a session of its own no key and no hangup reaches it. It never returns."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        os.read(pipe, 1)  # its end is ours
        termios.tcsetattr(0, termios.TCSADRAIN, before)  # type: ignore[arg-type]
    except BaseException:  # noqa: BLE001 (a terminal that is gone needs nothing)
        os._exit(1)
    os._exit(0)


def say(text: str) -> None:
    """A line above what the task shows."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
