"""Timing of whole commands, as processes, the way a deploy script runs them."""

import statistics
import subprocess
import sys
import time

from tests.support.host import TestHost


def seconds_of(host: TestHost, *words: str) -> float:
    """Return the seconds of a command from start to exit; it must succeed."""
    argv = [sys.executable, "-m", "conductor", "service", *words, "--id", "web"]
    began = time.monotonic()
    subprocess.run(argv, env=host.environment(), check=True, capture_output=True)
    return time.monotonic() - began


def upgrades(host: TestHost, rounds: int) -> float:
    """Return the median of `rounds` upgrades between two revisions, after one that is not counted."""
    taken = [seconds_of(host, "upgrade", "--revision", f"r{number % 2 + 1}") for number in range(rounds + 1)]
    return statistics.median(taken[1:])
