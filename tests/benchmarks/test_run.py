"""`conductor run` against `docker run --rm`: same image, network and command, whole processes, in turns.

Cron calls it every minute for every job, so its cost beside that of Docker is bounded.
"""

import sys
from pathlib import Path

import pytest

from tests.benchmarks.figures import Figures
from tests.benchmarks.timing import process_seconds
from tests.support.aftermath import QUICK
from tests.support.host import TestHost
from tests.support.images import APP

COMMAND = Path(sys.executable).with_name("conductor")


@pytest.mark.short
def test_against_docker_run(host: TestHost, figures: Figures) -> None:
    host.define({"web": {**QUICK, "nginx": None}})
    host.upgrade("r1", check=True)
    environment = host.environment()
    docker_run = ("docker", "run", "--rm", "--network", host.network, f"{APP}:r1", "true")
    figures.compare(
        "run",
        lambda: process_seconds(COMMAND, "run", "--id", "web", "true", env=environment),
        lambda: process_seconds(*docker_run, env=environment),
        of="docker run --rm",
        pairs=20,
        short_pairs=6,
    )
