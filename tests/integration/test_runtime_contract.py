"""The Docker runtime does what the fake runtime of the unit tests does."""

import contextlib
import os
import time
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


def inside(container: str) -> str:
    with contextlib.closing(docker.APIClient(base_url=SOCKET)) as api:
        return "\n".join(row[-1] for row in api.top(container)["Processes"])


@pytest.mark.parametrize(
    "command",
    [("sleep", "987"), ("sh", "-c", "(sleep 987 & sleep 987); true"), ("sh", "-c", "while :; do echo flood; done")],
    ids=["a command", "with processes of its own", "that prints without end"],
)
def test_a_health_command_that_hangs_is_killed_in_the_container(case: Case, command: tuple[str, ...]) -> None:
    container = case.started("serves", 2)
    before = inside(container)
    for _ in range(2):
        result = case.runtime.execute(container, command, 0.5)
        assert (result.ok, result.error) == (False, f"{command[0]} did not end within 0.5s")
        until = time.monotonic() + 5
        while (now := inside(container)) != before and time.monotonic() < until:
            time.sleep(0.05)
        assert now == before
    assert case.runtime.execute(container, ("true",), 5).ok
