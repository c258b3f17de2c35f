"""bin/worker-alive: checks by the age of a file that the worker in this container has finished a round recently."""

import os
import sys
import time
from pathlib import Path

MAX_AGE_SECONDS = 10


def path() -> Path:
    """Return the file's path. It is in the container, not on the volume, because each worker has its own."""
    return Path(os.environ.get("ALIVE_FILE") or "/tmp/payments-worker-alive")


def touch() -> None:
    """Record that a round has finished."""
    path().touch()


def main() -> int:
    """Return 0 if the last round is recent, else 1; print the reason."""
    try:
        age = time.time() - path().stat().st_mtime
    except FileNotFoundError:
        print("the worker has not finished a round yet")
        return 1
    print(f"the worker finished a round {age:.1f} s ago")
    return 0 if age <= MAX_AGE_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
