"""`conductor run` against `docker run --rm`: same image, network and command, whole processes, in turns.

Cron calls it every minute for every job, so its cost beside that of Docker is bounded.
"""

import statistics
import subprocess
import sys
import time
from pathlib import Path

from tests.support.aftermath import QUICK
from tests.support.host import TestHost
from tests.support.images import APP

PAIRS = 20
BOUND_MS = 120.0
COMMAND = Path(sys.executable).with_name("conductor")


def milliseconds(host: TestHost, *argv: str | Path) -> float:
    began = time.perf_counter()
    subprocess.run(argv, env=host.environment(), stdin=subprocess.DEVNULL, check=True, capture_output=True)
    return (time.perf_counter() - began) * 1000


def test_at_most_120_ms_more_than_docker_run(host):
    host.define({"web": {**QUICK, "nginx": None}})
    host.upgrade("r1", check=True)
    ours = (COMMAND, "run", "--id", "web", "true")
    theirs = ("docker", "run", "--rm", "--network", host.network, f"{APP}:r1", "true")
    pairs = [(milliseconds(host, *ours), milliseconds(host, *theirs)) for _ in range(PAIRS + 1)][1:]
    conductor, docker = (statistics.median(column) for column in zip(*pairs, strict=True))
    more = statistics.median(one - other for one, other in pairs)
    print(
        f"\nconductor run {conductor:.0f} ms, docker run --rm {docker:.0f} ms: {conductor / docker:.2f} times, "
        f"{more:+.0f} ms (median of {PAIRS} differences)"
    )
    assert more <= BOUND_MS
