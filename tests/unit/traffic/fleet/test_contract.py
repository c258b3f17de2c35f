"""The traffic layer of a fleet has the behaviours of every traffic layer, whichever of its managers makes the change."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.fleet import fleet_traffic
from tests.fakes.traffic import FakeTraffic
from tests.fakes.traffic_contract import BEHAVIOURS, SERVICES, Case


@pytest.fixture(params=[(1, False), (3, False), (3, True)], ids=["one edge", "three edges", "edges that restart"])
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    number, restarts = request.param
    with tempfile.TemporaryDirectory() as directory:
        edges = [FakeTraffic() for _ in range(number)]
        traffic = fleet_traffic([*edges], SERVICES, Path(directory), restarts=restarts)

        @contextlib.contextmanager
        def unfinished(_service: str, endpoint: str) -> Iterator[None]:
            edges[-1].unfinished.add(endpoint)
            yield
            edges[-1].unfinished.remove(endpoint)

        def stop() -> None:
            edges[0].running = False

        endpoints = ("10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80", "10.0.0.4:80")
        yield Case(traffic, endpoints, {"web": 8001, "api": 8002}, unfinished, stop)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
def test_contract(case: Case, behaviour: Callable[[Case], None]) -> None:
    behaviour(case)
