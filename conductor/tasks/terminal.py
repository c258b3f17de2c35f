"""The user's terminal while a task has it: raw, and as it was before on every way out."""

import contextlib
import os
import signal
import termios
import tty
from collections.abc import Iterator

from conductor.errors import ConductorError


@contextlib.contextmanager
def raw() -> Iterator[None]:
    """Keys go to the task as they are typed, Ctrl-C too.

    What puts the terminal back is a process of its own that waits for our end, however we end: kill -9 cannot be caught.
    """
    with _gone():
        before = termios.tcgetattr(0)
    watched, ours = os.pipe()
    guardian = os.fork()
    if guardian == 0:
        os.close(ours)
        _restore_at_the_end_of(watched, before)
    os.close(watched)
    try:
        with _gone():
            tty.setraw(0, termios.TCSADRAIN)
        yield
    finally:
        os.close(ours)
        _, status = os.waitpid(guardian, 0)
        if status:  # it was killed itself
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            with contextlib.suppress(termios.error):
                termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _gone() -> Iterator[None]:
    try:
        yield
    except termios.error as error:
        raise ConductorError("cannot use the terminal: it is gone") from error


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
