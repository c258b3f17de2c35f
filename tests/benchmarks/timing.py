"""Timing of whole commands, as processes, the way a deploy script runs them."""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

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


class Cost(NamedTuple):
    """What processes have cost, from the start of the first to the exit of the last."""

    wall_seconds: float
    cpu_seconds: float


def cost(*argv: str | Path, at_once: int, env: Mapping[str, str] | None = None) -> Cost:
    """Return the cost of this many processes at once; all must succeed. The CPU time of Docker's daemon is not in it."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen(argv, env=env, **quiet) for _ in range(at_once)]
    assert [process.wait() for process in processes] == [0] * at_once
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


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


def step_seconds(host: TestHost, actions: int) -> dict[str, float]:
    """Return the median duration of each step of the last actions."""
    shown = host.conductor("service", "history", "--tail", str(actions), "--json", check=True).stdout
    steps = [entry["steps"] for entry in json.loads(shown)["history"]]
    return {name: median([one[name] for one in steps]) for name in steps[0]}


def upgrades(host: TestHost, rounds: int) -> list[float]:
    """Return the seconds of `rounds` upgrades between two revisions, after one that is not counted."""
    return [seconds_of(host, "upgrade", "--revision", f"r{number % 2 + 1}") for number in range(rounds + 1)][1:]


def median(values: list[float]) -> float:
    """Return the median, to a tenth of a millisecond."""
    return round(statistics.median(values), 4)
