"""`service list` and `service status` against a bare start of the same Python and one list call, in turns.

`supervise` runs, as on a production host, so the health is what it published.
"""

import json
import sys
from pathlib import Path

import pytest

from tests.benchmarks.figures import Figures
from tests.benchmarks.hosts import EACH, SERVICES, start_many, wait_for_all
from tests.benchmarks.timing import bare_start_seconds, compiled, list_call_seconds, process_seconds
from tests.support.host import TestHost
from tests.support.supervised import Supervised

COMMAND = Path(sys.executable).with_name("conductor")


def measure(figures: Figures, services: int, each: int, *, pairs: int) -> None:
    with TestHost() as host:
        start_many(host, host.daemon.url, services=services, each=each)
        sup = Supervised(host)
        try:
            sup.start()
            wait_for_all(sup, services, each)
            document = json.loads(host.conductor("service", "status", "--json", check=True).stdout)
            replicas = [one for service in document["services"] for one in service["replicas"]]
            assert len(replicas) == services * each + 1
            assert all(one["memory"] and one["started"] for one in replicas)
            environment = compiled(host.environment())
            for command in ("list", "status"):
                figures.compare(
                    f"service {command}, {services * each} containers",
                    lambda command=command: process_seconds(COMMAND, "service", command, env=environment),
                    lambda: bare_start_seconds() + list_call_seconds(host),
                    of="bare Python startup and one list call",
                    pairs=pairs,
                    short_pairs=pairs,
                )
        finally:
            sup.end()


def test_with_200_containers(images: None, figures: Figures) -> None:
    measure(figures, SERVICES, EACH, pairs=15)


@pytest.mark.short
def test_with_20_containers(images: None, figures: Figures) -> None:
    measure(figures, 10, 2, pairs=7)
