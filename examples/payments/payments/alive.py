"""bin/worker-alive: whether the worker of this container has done a round lately; a file's age says so."""

import os
import sys
import time
from pathlib import Path

FRESH_SECONDS = 10


def path() -> Path:
    """The file, in the container itself and not on the volume: each worker has its own."""
    return Path(os.environ.get("ALIVE_FILE") or "/tmp/payments-worker-alive")


def touch() -> None:
    """Say that a round is done."""
    path().touch()


def main() -> int:
    """Exit code 0 if the file is fresh, else 1 and the reason."""
    try:
        age = time.time() - path().stat().st_mtime
    except FileNotFoundError:
        print("the worker has not finished a round yet")
        return 1
    print(f"the worker finished a round {age:.1f} s ago")
    return 0 if age <= FRESH_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
