"""The caller's terminal in raw mode while a task uses it; its settings are restored however Conductor ends."""

import contextlib
import os
import signal
import termios
import tty
from collections.abc import Iterator

from conductor.errors import ConductorError


@contextlib.contextmanager
def raw() -> Iterator[None]:
    """Pass keys to the task as they are typed, Ctrl-C too.

    A child process waits for the end of this one and restores the settings, because SIGKILL cannot be handled.
    """
    with _errors():
        before = termios.tcgetattr(0)
    watched, ours = os.pipe()
    guardian = os.fork()
    if guardian == 0:
        os.close(ours)
        _restore_after(watched, before)
    os.close(watched)
    try:
        with _errors():
            tty.setraw(0, termios.TCSADRAIN)
        yield
    finally:
        os.close(ours)
        _, status = os.waitpid(guardian, 0)
        if status:  # the guardian was killed or failed
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            with contextlib.suppress(termios.error):
                termios.tcsetattr(0, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    try:
        yield
    except termios.error as error:
        raise ConductorError("cannot use the terminal: it was closed") from error


def _restore_after(pipe: int, before: list[object]) -> None:
    """Run the guardian: it has its own session, so that no key and no hangup reaches it. Never return."""
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(number, signal.SIG_IGN)
        os.read(pipe, 1)  # returns when the other end is closed
        termios.tcsetattr(0, termios.TCSADRAIN, before)  # type: ignore[arg-type]
    except BaseException:  # noqa: BLE001 (a closed terminal needs no restoring)
        os._exit(1)
    os._exit(0)
