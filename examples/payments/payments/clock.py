"""bin/clock: a singleton. Its lines in clock.log on the volume show whether two clocks ever ran at once.

It writes `TIME start REVISION HOST`, then a `tick` line every second, then `end`. A killed clock writes no `end`.
"""

import os
import socket
import sys
import time
from pathlib import Path

from payments import broken, settings, signals

TICK_SECONDS = 1.0


def main() -> int:
    """Write a line per second until a stop signal arrives."""
    signals.block()
    faults = broken.start("clock")
    file = settings.data_directory() / "clock.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, "start")
    crash_at = time.monotonic() + broken.seconds()
    while not signals.wait_for_stop(within=settings.number("CLOCK_SECONDS", TICK_SECONDS)):
        write(file, "tick")
        if "crashes" in faults and time.monotonic() >= crash_at:
            broken.fail("clock", "cannot read the time")
    if "ignores-stop" in faults:
        signals.ignore_stop()
    write(file, "end")
    return 0


def write(file: Path, event: str) -> None:
    """Append one line in one write and sync it to disk."""
    line = f"{settings.now()} {event} {settings.revision()} {socket.gethostname()}\n"
    with file.open("a") as log:
        log.write(line)
        log.flush()
        os.fsync(log.fileno())
    if event != "tick":
        settings.log(f"clock: {event}")


if __name__ == "__main__":
    sys.exit(main())
