"""`conductor gc` on real Docker, with images of 5 MB from a registry."""

import json
import random
from collections.abc import Iterator
from typing import Any

import docker.errors
import pytest

from tests.support.aftermath import QUICK
from tests.support.docker_registry import DockerRegistry
from tests.support.host import TestHost, merged
from tests.support.images import APP

LAYER_BYTES, LARGE_LAYER_BYTES = 5 * 2**20, 50 * 2**20
GC = {"keep": 1, "gc": {"free": "0%"}}


@pytest.fixture
def registry(host: TestHost) -> Iterator[DockerRegistry]:
    with DockerRegistry(host.directory / "registry") as made:
        for number in range(1, 7):
            made.push(f"v{number}", layer_bytes=LAYER_BYTES)
        host.define({"web": merged(QUICK, {"image": made.image})}, host_extra=GC)
        yield made
        host.daemon.remove_all()  # first: the image of a container would stay without a name
        for image in host.daemon.api.images(name=made.image):
            for reference in image["RepoTags"] or ():
                host.daemon.api.remove_image(reference, force=True)


def tags(host: TestHost, registry: DockerRegistry) -> set[str]:
    images = host.daemon.api.images(name=registry.image)
    return {tag.rpartition(":")[2] for image in images for tag in image["RepoTags"] or ()}


def image_bytes(host: TestHost, registry: DockerRegistry) -> int:
    return sum(int(image["Size"]) for image in host.daemon.api.images(name=registry.image))


def test_disk_use_stays_flat_and_what_is_not_conductors_stays(host: TestHost, registry: DockerRegistry) -> None:
    api, mine = host.daemon.api, f"{host.instance}-mine"
    api.tag(f"{APP}:r1", registry.image, "by-hand")
    assert host.upgrade("v1", check=True).code == 0
    first = str(api.inspect_image(f"{registry.image}:v1")["Id"])
    api.tag(f"{registry.image}:v1", mine, "keep")
    host.upgrade("v2", check=True)
    foreign = api.create_container(f"{registry.image}:v2", ["true"])["Id"]  # it never runs
    try:
        for revision in ("v3", "v4"):
            assert "warning" not in host.upgrade(revision, check=True).stderr
        assert tags(host, registry) == {"by-hand", "v2", "v3", "v4"}
        assert api.inspect_image(f"{mine}:keep")["Id"] == first
        before = image_bytes(host, registry)
        gone = str(api.inspect_image(f"{registry.image}:v3")["Id"])
        last = host.upgrade("v5", check=True)
        assert f"removed image {registry.image}:v3 of web (frees up to " in last.stderr
        assert image_bytes(host, registry) == pytest.approx(before, abs=2**16)
        with pytest.raises(docker.errors.ImageNotFound):
            api.inspect_image(gone)
        registry.stop()
        assert host.conductor("service", "rollback", "--id", "web", check=True).code == 0
        assert host.get().revision == "v4"
    finally:
        api.remove_container(foreign, v=True)
        api.remove_image(f"{mine}:keep", force=True)
    plan = json.loads(host.conductor("gc", "--plan", "--json", check=True).stdout)
    assert (plan["version"], plan["skipped"]) == (1, [])
    assert [(one["kind"], one["service"], one["name"]) for one in plan["garbage"]] == [
        ("image", "web", f"{registry.image}:v2")
    ]
    assert LAYER_BYTES < plan["bytes_at_most"] == plan["garbage"][0]["bytes"]
    assert {disk["path"] for disk in plan["disks"]} == {str(host.state_dir), api.info()["DockerRootDir"]}
    text = host.conductor("gc", "--plan", check=True).stdout
    assert f"image  web      {registry.image}:v2  " in text
    assert "v2" in tags(host, registry)
    events = [json.loads(line) for line in host.conductor("gc", "--json", check=True).stdout.splitlines()]
    kinds = [event["event"] for event in events]
    assert list(dict.fromkeys(kinds)) == ["step-started", "progress", "removed", "step-finished", "finished"]
    assert {event["step"] for event in events if "step" in event} == {"gc"}
    (removed,) = [event for event in events if event["event"] == "removed"]
    assert (removed["kind"], removed["name"]) == ("image", f"{registry.image}:v2")
    assert [one["action"] for one in events[-1]["services"]] == ["gc"]
    assert host.history()[-1]["action"] == "gc"
    assert tags(host, registry) == {"by-hand", "v4", "v5"}
    assert "removed nothing" in host.conductor("gc", check=True).stderr


@pytest.mark.long
def test_rollbacks_work_offline_and_disk_use_stays_flat_over_100_upgrades(host: TestHost) -> None:
    """200 rounds of upgrades, rollbacks, tasks and gc at random, with images of 50 MiB. The registry is only up for upgrades."""
    chance, sizes, revision = random.Random(13), [], 0
    with DockerRegistry(host.directory / "large-registry") as registry:
        host.define({"web": merged(QUICK, {"image": registry.image})}, host_extra={**GC, "keep": 2})
        registry.stop()
        for number in range(200):
            action = "upgrade" if number % 2 == 0 else chance.choice(["rollback", "run", "gc"])
            kept = [one["revision"] for one in wanted(host)["kept"]] if number else []
            if action == "upgrade":
                revision += 1
                registry.start()
                registry.push(f"v{revision}", layer_bytes=LARGE_LAYER_BYTES)
                host.upgrade(f"v{revision}", check=True)
                registry.stop()
                sizes.append(host.daemon.api.df()["LayersSize"])
            elif action == "gc":
                host.conductor("gc", check=True)
            elif kept and action == "rollback":
                to = chance.choice(kept)
                host.conductor("service", "rollback", "--id", "web", "--to", to, check=True, timeout=60)
                assert wanted(host)["release"]["revision"] == to
            elif kept:
                host.conductor("run", "--id", "web", "--revision", chance.choice(kept), "true", check=True, timeout=60)
        print(f"MiB after upgrades: {[size // 2**20 for size in sizes]}")
        assert len(sizes) == 100
        assert max(sizes[50:]) == pytest.approx(max(sizes[:50]), abs=LARGE_LAYER_BYTES // 10)
        assert max(sizes) - min(sizes) < 5 * LARGE_LAYER_BYTES
        host.daemon.remove_all()


def wanted(host: TestHost) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((host.state_dir / "services" / "web.json").read_text())
    return state
