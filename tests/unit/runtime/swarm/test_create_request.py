"""The body of a request for a service of Swarm's: the whole document once, and unset fields left out."""

import re

import msgspec
import pytest

from conductor.definitions.model import JoinedNetwork, Mount, Service, Stop
from conductor.errors import ConductorError
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.release import Image
from conductor.runtime.swarm.create_request import create_request, refuse_volumes, service_name
from tests.unit.runtime.docker.test_create_request import FULL
from tests.unit.runtime.docker.test_create_request import spec as docker_spec

IMAGE = "shop/app@sha256:2"


def spec(service: Service, address: str = ":21000") -> ContainerSpec:
    return docker_spec(service, address)


def test_a_definition_with_every_field() -> None:
    service = msgspec.structs.replace(
        FULL, devices=(), security_opt=(), networks=(JoinedNetwork(name="monitoring", aliases=("web",)),),
        stop=Stop(signal="SIGQUIT", grace=1.5),
    )  # fmt: skip
    labels = {
        "team": "shop",
        "conductor.instance": "default",
        "conductor.name": "web-r1-c2-1",
        "conductor.service": "web",
        "conductor.revision": "r1",
        "conductor.kind": "service",
        "conductor.definition": "d1",
        "conductor.release": "c1",
        "conductor.change": "c2",
        "conductor.address": ":21000",
        "conductor.job": "",
        "conductor.deadline": "",
    }
    assert create_request(spec(service), IMAGE, 3) == {
        "Name": "web-r1-c2-1",
        "Labels": {**labels, "conductor.image": "sha256:1"},
        "Mode": {"Replicated": {"Replicas": 0}},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": IMAGE,
                "Command": ("tini", "--"),
                "Args": ("bin/web",),
                "Hostname": "shop",
                "Env": ["A=1", "TOKEN=hunter2"],
                "Labels": labels,
                "User": "app",
                "Dir": "/app",
                "StopSignal": "SIGQUIT",
                "StopGracePeriod": 1_500_000_000,
                "Mounts": [
                    {"Type": "bind", "Source": "/srv/up", "Target": "/up", "ReadOnly": True},
                    {"Type": "tmpfs", "Target": "/tmp"},
                    {"Type": "tmpfs", "Target": "/cache", "TmpfsOptions": {"SizeBytes": 64 * 2**20, "Mode": 0o1777}},
                    {"Type": "tmpfs", "Target": "/dev/shm", "TmpfsOptions": {"SizeBytes": 2**20}},
                ],
                "Init": True,
                "ReadOnly": True,
                "CapabilityAdd": ("NET_ADMIN",),
                "CapabilityDrop": ("ALL",),
                "Sysctls": {"net.core.somaxconn": "1024"},
                "DNSConfig": {"Nameservers": ("10.0.0.53",), "Search": ("shop.internal",), "Options": ("ndots:1",)},
                "Ulimits": [{"Name": "nofile", "Soft": 1, "Hard": 2}],
                "Hosts": ["10.0.0.9 db"],
            },
            "Resources": {"Limits": {"MemoryBytes": 2**30, "NanoCPUs": 1_500_000_000, "Pids": 100}},
            "RestartPolicy": {"Condition": "any", "Delay": 5_000_000_000},
            "LogDriver": {"Name": "json-file", "Options": {"max-size": "50m"}},
            "Networks": [{"Target": "monitoring", "Aliases": ("web",)}],
        },
        "EndpointSpec": {
            "Ports": [{"Protocol": "tcp", "TargetPort": 8080, "PublishedPort": 21000, "PublishMode": "host"}]
        },
    }


def test_a_definition_with_little() -> None:
    request = create_request(
        spec(Service(image="shop/app", stop=Stop(grace=0), cap_add=("ALL",), pids_limit=-1), address=""), IMAGE, 3
    )
    assert set(request["TaskTemplate"]) == {"ContainerSpec", "RestartPolicy", "LogDriver"}
    assert set(request["TaskTemplate"]["ContainerSpec"]) == {
        "Image", "Env", "Labels", "StopSignal", "StopGracePeriod", "CapabilityAdd",
    }  # fmt: skip
    assert request["TaskTemplate"]["ContainerSpec"]["StopGracePeriod"] == 0
    assert request["EndpointSpec"] == {}


def test_volumes() -> None:
    volumes = ("data:/data", "cache:/cache:ro", Mount(type="volume", source="files", target="/files"))
    mounts = create_request(spec(Service(image="a", volumes=volumes)), IMAGE, 3)["TaskTemplate"]["ContainerSpec"][
        "Mounts"
    ]
    assert mounts == [
        {"Type": "volume", "Source": "data", "Target": "/data", "ReadOnly": False},
        {"Type": "volume", "Source": "cache", "Target": "/cache", "ReadOnly": True},
        {"Type": "volume", "Source": "files", "Target": "/files", "ReadOnly": False},
    ]


@pytest.mark.parametrize(
    ("name", "begins"),
    [("web-r1-c2-1", "web-r1-c2-1"), ("web-v1.2-c2-1", "web-v1-2-c2-1-"), (f"{'w' * 63}-r1-c2-1", f"{'w' * 50}-")],
)
def test_the_name_of_a_service(name: str, begins: str) -> None:
    """Swarm accepts 63 letters, digits, - and _."""
    found = service_name(name)
    assert found.startswith(begins)
    assert re.fullmatch("[A-Za-z0-9_-]{1,63}", found)
    assert service_name(name) == found != service_name(f"{name}0")


@pytest.mark.parametrize(
    ("address", "publish", "ip"), [(":21000", (80, 21000), None), ("10.1.0.5:80", None, "10.1.0.5"), ("", None, None)]
)
def test_the_address_decides_whether_a_port_of_the_node_is_published(
    address: str, publish: tuple[int, int] | None, ip: str | None
) -> None:
    made = spec(Service(image="a", port=80), address)
    assert (made.publish, made.ip) == (publish, ip)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        (5, [[1], [2, 1], [3, 1], [4, 1]]),
        (3, [[1], [2, 1], [3], [4, 3]]),  # two nodes each, which leaves one for a replica of a lost node
        (2, [[1], [2], [3], [4]]),
        (1, [[1], [2], [3], [4]]),
        (0, [[1], [2], [3], [4]]),
    ],
)
def test_replicas_that_start_together_share_a_port_so_that_they_run_apart(
    nodes: int, expected: list[list[int]]
) -> None:
    found = []
    for port in (1, 2, 3, 4):
        made = msgspec.structs.replace(spec(Service(image="a", port=80)), publish=(80, port), apart=(1, 2, 3, 4))
        ports = create_request(made, IMAGE, nodes)["EndpointSpec"]["Ports"]
        assert [one["TargetPort"] for one in ports] == [80, *(one["PublishedPort"] for one in ports[1:])]
        found.append([one["PublishedPort"] for one in ports])
    assert found == expected


def test_an_image_with_a_volume() -> None:
    made = spec(Service(image="a", volumes=("data:/data",), tmpfs=("/run",)))
    refuse_volumes(Image("sha256:1", "", ("/data/", "/run")), made)
    with pytest.raises(ConductorError, match="its image declares a VOLUME at /cache, but nothing is mounted there"):
        refuse_volumes(Image("sha256:1", "", ("/data", "/cache")), made)


def test_a_service_that_stays_on_one_node() -> None:
    """It has a port even if it listens nowhere: while one task has it, Docker starts no other one there."""
    service = msgspec.structs.replace(Service(image="app", order="stop-first"), port=None)
    pinned = msgspec.structs.replace(spec(service), pinned=True, publish=None)
    body = create_request(pinned, IMAGE, 3, "h2")
    assert body["TaskTemplate"]["Placement"] == {"Constraints": ["node.hostname==h2"]}
    assert body["Labels"]["conductor.node"] == "h2"
    assert [(one["TargetPort"], one["PublishedPort"]) for one in body["EndpointSpec"]["Ports"]] == [(21000, 21000)]
    with_port = msgspec.structs.replace(pinned, publish=(8080, 21000), apart=(21000, 21001))
    ports = create_request(with_port, IMAGE, 3, "h2")["EndpointSpec"]["Ports"]
    assert [(one["TargetPort"], one["PublishedPort"]) for one in ports] == [(8080, 21000)]
