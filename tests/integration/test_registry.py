"""Images from a registry with a password: Debian's docker-registry on 127.0.0.1, and the host's Docker credentials."""

import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.docker_registry import DockerRegistry
from tests.support.host import TestHost, merged
from tests.support.private_daemon import PrivateDaemon

PASSWORD = "pw-registry-77c1"
HINT = "check the image's name, the revision and the registry's credentials (docker login 127.0.0.1:"


@pytest.fixture
def registry(host: TestHost) -> Iterator[DockerRegistry]:
    with DockerRegistry(host.directory / "registry", password=PASSWORD) as made:
        host.define({"web": merged(QUICK, {"image": made.image})})
        yield made
        host.daemon.remove_all()


def partial_downloads(host: TestHost) -> list[str]:
    """Return the files of incomplete downloads that the daemon keeps."""
    root = Path(host.daemon.api.info()["DockerRootDir"])
    return [str(path) for path in (root / "tmp").glob("GetImageBlob*")]


def test_a_pull_with_the_hosts_credentials(host: TestHost, registry: DockerRegistry) -> None:
    registry.push("v1")
    login = registry.login(host.directory / "docker", PASSWORD)
    result = host.upgrade("v1", env=login, check=True)
    assert f"    pull  pull {registry.image}:v1\n    pull  done in " in result.stderr
    assert PASSWORD not in result.output
    nothing_left_behind(host, "v1")
    image = host.daemon.api.inspect_image(f"{registry.image}:v1")
    line = host.history()[-1]
    assert [line["image_digest"], line["image_id"]] == [*image["RepoDigests"], image["Id"]]
    assert "pull" not in host.upgrade("v1", "web", "--force", env=login, check=True).stderr


@pytest.mark.parametrize("password", ["wrong", None], ids=["a wrong password", "none"])
def test_missing_and_wrong_credentials(host: TestHost, registry: DockerRegistry, password: str | None) -> None:
    registry.push("v1")
    directory = host.directory / "docker"
    directory.mkdir()
    login = registry.login(directory, password) if password else {"DOCKER_CONFIG": str(directory)}
    failed(
        host.upgrade("v1", env=login), 1,
        f"cannot upgrade web: cannot pull image {registry.image}:v1: ", "no basic auth credentials" if password is None
        else "unauthorized", HINT, "web has never been deployed on this host and is not running",
    )  # fmt: skip
    nothing_left_behind(host, None)
    assert host.history()[-1]["outcome"] == "refused"


def test_a_tag_that_is_not_there(host: TestHost, registry: DockerRegistry) -> None:
    registry.push("v1")
    login = registry.login(host.directory / "docker", PASSWORD)
    host.upgrade("v1", env=login, check=True)
    failed(
        host.upgrade("v2", env=login), 1,
        f"cannot pull image {registry.image}:v2: ", "manifest unknown", HINT, "web is still running v1 with 1 replica\n",
    )  # fmt: skip
    nothing_left_behind(host, "v1")


def test_a_rollback_with_the_registry_stopped(host: TestHost, registry: DockerRegistry) -> None:
    login = registry.login(host.directory / "docker", PASSWORD)
    for tag in ("v1", "v2"):
        registry.push(tag)
        host.upgrade(tag, env=login, check=True)
    registry.stop()
    result = host.conductor("service", "rollback", "--id", "web", check=True)
    assert "web is running v1 with 1 replica" in result.stderr
    nothing_left_behind(host, "v1")
    for words in (("restart",), ("scale", "--count", "2"), ("stop",), ("start",)):
        host.conductor("service", words[0], "--id", "web", *words[1:], check=True)
    nothing_left_behind(host, "v1", count=2)


def test_a_tag_that_moved(host: TestHost, registry: DockerRegistry) -> None:
    """Only with --pull does a task or an upgrade get its new image; the image before is removed with its release."""
    login = registry.login(host.directory / "docker", PASSWORD)
    registry.push("v1")
    host.upgrade("v1", env=login, check=True)
    before = host.history()[-1]["image_id"]
    registry.push("v1", layer_bytes=1000)
    host.daemon.api.tag(before, registry.image, "v1")  # as on a host that has not seen the new image
    assert "nothing to do" in host.upgrade("v1", env=login, check=True).stderr
    run = ("run", "--id", "web")
    assert "pull  pull" in host.conductor(*run, "--pull", "true", env=login, check=True).stderr
    moved = host.daemon.api.inspect_image(f"{registry.image}:v1")["Id"]
    assert moved != before
    assert "pull" not in host.conductor(*run, "true", env=login, check=True).stderr
    assert "web is running v1" in host.upgrade("v1", "web", "--pull", env=login, check=True).stderr
    assert host.history()[-1]["image_id"] == moved
    nothing_left_behind(host, "v1")
    assert before not in {image["Id"] for image in host.daemon.api.images(all=True)}
    assert "nothing to do" in host.upgrade("v1", "web", "--pull", env=login, check=True).stderr


def test_no_room_for_the_image(host: TestHost, registry: DockerRegistry) -> None:
    registry.push("v1", layer_bytes=80 * 2**20)
    login = registry.login(host.directory / "docker", PASSWORD)
    with PrivateDaemon(host.directory / "small", 64) as small:
        host.define({"web": merged(QUICK, {"image": registry.image})}, host_extra={"docker": small.url})
        for _ in range(2):
            told = failed(host.upgrade("v1", env=login), 1, f"cannot pull image {registry.image}:v1: ")
            assert "no space left on device\n" in told
            assert "free up space on the disk that holds Docker's images" in told
            assert "web has never been deployed on this host and is not running" in told
        host.wait_for(lambda: shutil.disk_usage(small.data).used < 16 * 2**20, "the daemon to remove what had no room")
    assert host.history()[-1]["outcome"] == "refused"


def cut_in_the_middle(host: TestHost, registry: DockerRegistry, size: int, *, patient: bool) -> None:
    """Stop the registry in the middle of a pull. The daemon retries for more than a minute: wait for that, or send Ctrl-C."""
    registry.push("v1")
    registry.push("v2", layer_bytes=size)
    login = registry.login(host.directory / "docker", PASSWORD)
    host.upgrade("v1", env=login, check=True)
    before = partial_downloads(host)
    registry.stop_after(size // 2)
    pulling = host.spawn("service", "upgrade", "--id", "web", "--revision", "v2", env=login)
    host.wait_for(lambda: registry.is_shut, "the middle of the pull", timeout=60)
    registry.stop()
    if patient:
        told = failed(pulling.wait(240), 1, f"cannot pull image {registry.image}:v2: ", "connection refused", HINT)
    else:
        host.wait_for(lambda: "Retrying in " in pulling.stderr, "the daemon to try again")
        pulling.signal(signal.SIGINT)
        told = failed(pulling.wait(20), 130, "interrupted")
    assert "web is still running v1 with 1 replica\n" in told
    nothing_left_behind(host, "v1")
    failed(host.upgrade("v2", env=login), 1, "refused")
    registry.start()
    assert "pull  done in " in host.upgrade("v2", env=login, check=True).stderr
    nothing_left_behind(host, "v2")
    # Other pulls on this machine may be under way.
    host.wait_for(lambda: set(partial_downloads(host)) <= set(before), "the end of partial downloads", 60)


def test_the_registry_stops_in_the_middle_of_a_pull(host: TestHost, registry: DockerRegistry) -> None:
    cut_in_the_middle(host, registry, 60 * 2**20, patient=False)


@pytest.mark.long
def test_the_registry_stops_in_the_middle_of_a_large_pull(host: TestHost, registry: DockerRegistry) -> None:
    cut_in_the_middle(host, registry, 300 * 2**20, patient=True)


def test_a_task_pulls_and_creates_what_an_operator_has_removed(host: TestHost, registry: DockerRegistry) -> None:
    """`docker system prune -a` removes the image and the network of a service that is stopped."""
    registry.push("v1")
    login = registry.login(host.directory / "docker", PASSWORD)
    host.upgrade("v1", env=login, check=True)
    host.conductor("service", "stop", "--id", "web", check=True)
    api, (live, network) = host.daemon.api, (host.wanted("web")["release"], host.network)
    api.remove_image(live["image_id"], force=True)
    api.remove_network(network)
    refused = host.conductor("run", "--id", "web", "true", env={"DOCKER_CONFIG": str(host.directory)}).expect(125)
    for word in ("web", "v1", f"{registry.image}:v1"):
        assert word in refused.stderr
    result = host.conductor("run", "--id", "web", "echo", "done", env=login, check=True)
    assert result.stdout == "done\n"
    assert api.inspect_image(live["image_id"])["Id"] == live["image_id"]
    api.remove_network(network)
    assert host.conductor("run", "--id", "web", "echo", "done", check=True).stdout == "done\n"
    api.remove_image(live["image_id"], force=True)
    assert host.conductor("run", "--id", "web", "echo", "done", env=login, check=True).stdout == "done\n"
    host.conductor("service", "start", "--id", "web", check=True)
    assert [one.revision for one in host.containers("web")] == ["v1"]
