"""`conductor run` against `docker run --rm`: same image, network and command, whole processes, in turns.

Cron calls it every minute for every job, so its cost beside that of Docker is bounded.
"""

import sys
from pathlib import Path

import pytest

from tests.benchmarks.figures import Figures
from tests.benchmarks.timing import Cost, cost, process_seconds
from tests.support.aftermath import QUICK
from tests.support.host import TestHost
from tests.support.images import APP

RUN: list[str | Path] = [Path(sys.executable).with_name("conductor"), "run", "--id", "web", "true"]
FLOOR = "docker run --rm"
AT_ONCE = 20


@pytest.mark.short
def test_against_docker_run(host: TestHost, figures: Figures) -> None:
    environment, docker_run = prepare(host)
    figures.compare(
        "run",
        lambda: process_seconds(*RUN, env=environment),
        lambda: process_seconds(*docker_run, env=environment),
        of=FLOOR,
        pairs=20,
        short_pairs=6,
    )


def test_cost_against_docker_run(host: TestHost, figures: Figures) -> None:
    """The CPU time is that of the two commands, not that of the daemon."""
    environment, docker_run = prepare(host)
    for at_once, pairs, name in ((1, 10, "run"), (AT_ONCE, 3, f"run, {AT_ONCE} at once")):
        found: list[tuple[Cost, Cost]] = []
        for number in range(figures.number(pairs, 0)):
            figures.look()
            sides = [
                cost(*words, at_once=at_once, env=environment)
                for words in (RUN, docker_run)[:: -1 if number % 2 else 1]
            ]
            found.append((sides[number % 2], sides[1 - number % 2]))
        if at_once > 1:
            figures.ratio(name, [(one.wall_seconds, floor.wall_seconds) for one, floor in found], of=FLOOR)
        figures.ratio(f"{name}, CPU time", [(one.cpu_seconds, floor.cpu_seconds) for one, floor in found], of=FLOOR)


def prepare(host: TestHost) -> tuple[dict[str, str], list[str]]:
    """Start a service; return the environment of commands, and `docker run` with its image and network."""
    host.define({"web": {**QUICK, "nginx": None}})
    host.upgrade("r1", check=True)
    return host.environment(), ["docker", "run", "--rm", "--network", host.network, f"{APP}:r1", "true"]
