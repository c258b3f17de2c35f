"""The Docker runtime does what the fake runtime of the unit tests does, with Docker and with Podman 5."""

import contextlib
import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import msgspec
import pytest

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.definitions.host import Network
from conductor.errors import ConductorError
from conductor.runtime.docker.client import DockerRuntime
from tests.fakes.runtime_contract import BEHAVIOURS, Case
from tests.support.claims import Claims
from tests.support.images import APP
from tests.support.private_podman import PrivatePodman


@pytest.fixture(scope="module", params=["docker", "podman"])
def socket(images: None, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a daemon with the app's image."""
    if request.param == "docker":
        yield "unix:///var/run/docker.sock"
        return
    with (
        tempfile.TemporaryDirectory(prefix=f"conductor-test-{os.getpid()}-") as directory,
        PrivatePodman(Path(directory)) as podman,
    ):
        podman.load(f"{APP}:r1")
        yield podman.url


@pytest.fixture(scope="module")
def api(socket: str) -> Iterator[docker.APIClient]:
    """The same daemon for what tests do by hand."""
    with contextlib.closing(docker.APIClient(base_url=socket)) as made:
        yield made


@pytest.fixture(scope="module")
def contract_case(socket: str, api: docker.APIClient) -> Iterator[Case]:
    claims, instance, clock = Claims(), f"conductor-test-{os.getpid()}-contract", Clock()
    subnet = claims.subnet()
    network = Network(name=instance, subnet=subnet, tasks=f"{subnet.rpartition('.')[0]}.192/26")
    runtime = DockerRuntime(socket, instance, clock, SignalCancellation())
    runtime.ensure_network(network)

    def tag(reference: str) -> None:
        name, _, tagged = reference.rpartition(":")
        api.tag(f"{APP}:r1", name, tagged)

    try:
        yield Case(runtime, clock, instance, network, f"{APP}:r1", tag, ports=claims.ports(3))
    finally:
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


def inside(api: docker.APIClient, container: str) -> str:
    """Return the processes of a container, each command once, without those that its program starts for a moment: a shell has
    a copy of itself until the copy becomes `sleep`."""
    commands = sorted({row[-1] for row in api.top(container)["Processes"]})
    momentary = ("sleep 0.05", "[sleep]")  # the second while it ends
    return "\n".join(command for command in commands if not command.startswith(momentary))


@pytest.mark.parametrize(
    "command",
    [("sleep", "987"), ("sh", "-c", "(sleep 987 & sleep 987); true"), ("sh", "-c", "while :; do echo flood; done")],
    ids=["a command", "with processes of its own", "that prints without end"],
)
def test_a_health_command_that_hangs_is_killed_in_the_container(
    case: Case, api: docker.APIClient, command: tuple[str, ...]
) -> None:
    container = case.started("serves", 2)
    before = inside(api, container)
    for _ in range(2):
        result = case.runtime.execute(container, command, 0.5)
        assert (result.ok, result.error) == (False, f"{command[0]} did not finish within 0.5s")
        until = time.monotonic() + 5
        while (now := inside(api, container)) != before and time.monotonic() < until:
            time.sleep(0.05)
        assert now == before
    assert case.runtime.execute(container, ("true",), 5).ok


def test_the_data_of_an_image_volume_is_kept_with_its_release(case: Case, socket: str, api: docker.APIClient) -> None:
    image = f"{case.instance}-volume"
    built(socket, image, f"FROM {APP}:r1\nVOLUME /data\n")
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


def test_a_capture_ends_when_its_container_is_removed(case: Case) -> None:
    """So ends the generation of a crontab whose change must stop."""
    container = case.runtime.create(case.replica("serves", 2))

    def run() -> None:
        with contextlib.suppress(ConductorError):
            case.runtime.capture(container, 60.0, 1000)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    until = time.monotonic() + 10
    while not ((state := case.runtime.inspect(container)) and state.running):
        assert time.monotonic() < until
        time.sleep(0.02)
    case.runtime.remove(container)
    thread.join(20)
    assert not thread.is_alive()


def built(socket: str, name: str, recipe: str) -> str:
    env = {**os.environ, "DOCKER_BUILDKIT": "0"}
    words = ["docker", "--host", socket, "build", "-q", "-t", name, "-"]
    done = subprocess.run(words, input=recipe.encode(), check=True, capture_output=True, env=env)
    return f"sha256:{done.stdout.decode().strip().removeprefix('sha256:')}"


def test_an_image_that_a_container_or_another_image_needs_is_in_use_and_not_removed(
    case: Case, socket: str, api: docker.APIClient
) -> None:
    parent, child = f"{case.instance}-parent:1", f"{case.instance}-child:1"
    try:
        image = built(socket, parent, f"FROM {APP}:r1\nENV CHILD={case.instance}\n")
        found = [one for one in case.runtime.local_images() if one.id == image]
        digests = [name.rpartition("/")[2] for name in api.inspect_image(parent)["RepoDigests"]]  # Podman has one
        assert [(one.references, one.in_use) for one in found] == [((parent, *digests), False)]
        container = case.runtime.create(msgspec.structs.replace(case.replica("serves", 2), image_id=image))
        assert [one.in_use for one in case.runtime.local_images() if one.id == image] == [True]
        with pytest.raises(ConductorError, match=f"cannot remove image {parent}: "):
            case.runtime.remove_image(parent, image)
        assert api.inspect_image(parent)["Id"] == image
        case.runtime.remove(container)
        built(socket, child, f"FROM {parent}\nENV CHILD=1\nENV CHILD=2\n")  # an unnamed image is between the two
        assert [one.in_use for one in case.runtime.local_images() if one.id == image] == [True]
        api.remove_image(child)
        case.runtime.remove_image(parent, image)
        assert image not in {one.id for one in case.runtime.local_images()}
    finally:
        for name in (child, parent):
            with contextlib.suppress(docker.errors.NotFound):
                api.remove_image(name, force=True)
