"""Timing of whole commands, as processes, the way a deploy script runs them."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.benchmarks.docker_http import list_call
from tests.support.host import TestHost


def seconds_of(host: TestHost, *words: str) -> float:
    """Return the seconds of a command from start to exit; it must succeed."""
    return process_seconds(sys.executable, "-m", "conductor", "service", *words, "--id", "web", env=host.environment())


def process_seconds(*argv: str | Path, env: Mapping[str, str] | None = None) -> float:
    """Return the seconds of a process from start to exit; it must succeed."""
    began = time.perf_counter()
    subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, check=True, capture_output=True)
    return time.perf_counter() - began


def bare_start_seconds() -> float:
    """Return the seconds of a bare start of the same Python."""
    return process_seconds(sys.executable, "-c", "", env=compiled(os.environ))


def compiled(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of an installed program, whose modules are compiled."""
    return {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}


def list_call_seconds(host: TestHost) -> float:
    """Return the seconds of one list call for all containers of the host, including the parsing of its answer."""
    began = time.perf_counter()
    list_call(host.daemon.url, host.instance)
    return time.perf_counter() - began


def upgrades(host: TestHost, rounds: int) -> list[float]:
    """Return the seconds of `rounds` upgrades between two revisions, after one that is not counted."""
    return [seconds_of(host, "upgrade", "--revision", f"r{number % 2 + 1}") for number in range(rounds + 1)][1:]


def median(values: list[float]) -> float:
    """Return the median, to a tenth of a millisecond."""
    return round(statistics.median(values), 4)
