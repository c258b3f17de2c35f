"""Being told to stop, without signal handlers: the signals are held back and waited for by the main thread.

A held signal is kept by the kernel until it is asked for, also for process 1 of a container,
to which a signal that has no handler would otherwise never be delivered.
"""

import os
import signal
import time

from payments import settings

STOP = {signal.SIGTERM, signal.SIGINT}
TOLD_BY_SIGTERM = 128 + signal.SIGTERM


def hold() -> None:
    """Hold the stop signals back; first thing in `main`, before any thread starts."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP)


def told_to_stop(within: float | None = None) -> bool:
    """Wait so many seconds (for ever without a number) for a stop signal; whether one came.

    With `RUDE_EXIT=1` the process is gone at that moment, and whatever it was doing is lost.
    """
    if within is None:
        signal.sigwait(STOP)
    elif signal.sigtimedwait(STOP, max(within, 0)) is None:
        return False
    if settings.switch("RUDE_EXIT"):
        os._exit(TOLD_BY_SIGTERM)
    return True


def ignore_for_ever() -> None:
    """What the `ignores-stop` breakage does: only SIGKILL ends this process."""
    while True:
        time.sleep(3600)
