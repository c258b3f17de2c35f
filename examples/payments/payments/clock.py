"""bin/clock: a singleton. Its lines in clock.log on the volume show whether two ever ran at once.

`TIME start REVISION HOST`, then a `tick` line every second, then `end`; a killed clock has no `end`.
"""

import os
import socket
import sys
import time
from pathlib import Path

from payments import broken, settings, signals

TICK_SECONDS = 1.0


def main() -> int:
    """Tick until told to stop."""
    signals.hold()
    kinds = broken.start("clock")
    file = settings.data_directory() / "clock.log"
    file.parent.mkdir(parents=True, exist_ok=True)
    write(file, "start")
    ends = time.monotonic() + broken.seconds()
    while not signals.told_to_stop(within=settings.number("CLOCK_SECONDS", TICK_SECONDS)):
        write(file, "tick")
        if "crashes" in kinds and time.monotonic() >= ends:
            broken.give_up("clock", "lost count")
    if "ignores-stop" in kinds:
        signals.ignore_for_ever()
    write(file, "end")
    return 0


def write(file: Path, event: str) -> None:
    """Append one line in one write, on the disk before this returns."""
    line = f"{settings.now()} {event} {settings.revision()} {socket.gethostname()}\n"
    with file.open("a") as log:
        log.write(line)
        log.flush()
        os.fsync(log.fileno())
    if event != "tick":
        settings.log(f"clock: {event}")


if __name__ == "__main__":
    sys.exit(main())
