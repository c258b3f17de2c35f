"""The name of a thread, as `top -H` shows it. Python before 3.14 sets it only inside the process."""

import contextlib
from pathlib import Path


def name_thread(name: str) -> None:
    """Name this thread, with at most 15 characters. Without /proc, nothing happens."""
    with contextlib.suppress(OSError):
        Path("/proc/thread-self/comm").write_text(name)
