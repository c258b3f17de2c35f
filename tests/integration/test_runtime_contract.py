"""The Docker runtime does what the fake runtime of the unit tests does."""

import contextlib
import os
from collections.abc import Callable, Iterator

import docker
import pytest

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.definitions.model import Network
from conductor.runtime.docker.client import DockerRuntime
from tests.fakes.runtime_contract import BEHAVIOURS, Case
from tests.support.claims import Claims
from tests.support.images import APP

SOCKET = "unix:///var/run/docker.sock"


@pytest.fixture(scope="module")
def contract_case(images: None) -> Iterator[Case]:
    claims, instance, clock = Claims(), f"conductor-test-{os.getpid()}-contract", Clock()
    subnet = claims.subnet()
    network = Network(name=instance, subnet=subnet, tasks=f"{subnet.rpartition('.')[0]}.192/26")
    runtime = DockerRuntime(SOCKET, instance, clock, SignalCancellation())
    runtime.ensure_network(network)
    try:
        yield Case(runtime, clock, instance, network, f"{APP}:r1")
    finally:
        with contextlib.closing(docker.APIClient(base_url=SOCKET)) as api:
            api.remove_network(instance)
        claims.release()


@pytest.fixture
def case(contract_case: Case) -> Iterator[Case]:
    yield contract_case
    found = contract_case.runtime.containers()
    for container in (*found.replicas, *found.tasks):
        contract_case.runtime.remove(container.id)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
def test_contract(case: Case, behaviour: Callable[[Case], None]) -> None:
    behaviour(case)
