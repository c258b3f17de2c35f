"""Stop signals without handlers: all threads block them, and the main thread waits for them.

The kernel keeps a blocked signal pending, even for process 1 of a container, which otherwise never receives a signal
without a handler.
"""

import os
import signal
import time

from payments import settings

STOP = {signal.SIGTERM, signal.SIGINT}
SIGTERM_EXIT_CODE = 128 + signal.SIGTERM


def block() -> None:
    """Block the stop signals; call this before any thread starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)


def wait_for_stop(within: float | None = None) -> bool:
    """Wait `within` seconds, or forever, for a stop signal; return whether one arrived.

    With `EXIT_AT_ONCE=1` the process exits on the signal without finishing its work.
    """
    if within is None:
        signal.sigwait(STOP)
    elif signal.sigtimedwait(STOP, max(within, 0)) is None:
        return False
    if settings.switch("EXIT_AT_ONCE"):
        os._exit(SIGTERM_EXIT_CODE)
    return True


def ignore_stop() -> None:
    """Run until SIGKILL, for the fault `ignores-stop`."""
    while True:
        time.sleep(3600)
