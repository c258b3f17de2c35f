"""The Docker runtime does what the fake runtime of the unit tests does."""

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator

import docker
import msgspec
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


def test_the_data_of_an_image_volume_is_kept_with_its_release(case: Case) -> None:
    image = f"{case.instance}-volume"
    recipe = f"FROM {APP}:r1\nVOLUME /data\n".encode()
    env = {**os.environ, "DOCKER_BUILDKIT": "0"}
    subprocess.run(["docker", "build", "-q", "-t", image, "-"], input=recipe, check=True, capture_output=True, env=env)
    with contextlib.closing(docker.APIClient(base_url=SOCKET)) as api:
        try:
            found = case.runtime.image(f"{image}:latest")
            assert found is not None
            assert found.volumes == ("/data",)
            container = case.runtime.create(msgspec.structs.replace(case.replica("serves", 2), image_id=found.id))
            case.runtime.start(container)
            assert case.runtime.execute(container, ("sh", "-c", "echo kept >/data/file"), 5).ok
            filters = {"label": f"conductor.instance={case.instance}"}
            [volume] = api.volumes(filters=filters)["Volumes"]
            revision = volume["Labels"]["conductor.revision"]
            case.runtime.remove_volumes("web", set())  # it is in use
            case.runtime.remove(container)
            case.runtime.remove_volumes("web", {revision})
            assert [one["Name"] for one in api.volumes(filters=filters)["Volumes"]] == [volume["Name"]]
            case.runtime.remove_volumes("another", set())
            assert api.volumes(filters=filters)["Volumes"]
            case.runtime.remove_volumes("web", {"r2"})
            assert not api.volumes(filters=filters)["Volumes"]
        finally:
            api.remove_image(image, force=True)
