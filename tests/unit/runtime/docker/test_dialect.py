"""What Podman's responses become: Docker's words and shapes. The responses are those of Podman 5.4.2, shortened."""

from typing import Any

import pytest

from conductor.runtime.docker.dialect import DOCKER, PODMAN, Dialect, dialect_of, product_at
from conductor.runtime.docker.responses import container_state, containers, daemon, image, message
from conductor.runtime.docker.shapes import (
    Info,
    InspectedContainer,
    InspectedImage,
    ListedContainer,
    ListedNetwork,
    MalformedResponse,
    PodmanNetwork,
    Pool,
    Version,
    read,
)

LABELS = {"conductor.address": "10.0.0.5:80", "conductor.kind": "service"}
NOT_FOUND = "OCI runtime attempted to invoke a command that was not found"


def inspected(
    status: str, exit_code: int = 0, error: str = "", ip: str = "10.0.0.5", **more: Any
) -> InspectedContainer:
    found: dict[str, Any] = {
        "Id": "c1",
        "Created": "2026-11-29T19:55:49.053197184Z",
        "State": {
            "Status": status, "Running": status == "running", "ExitCode": exit_code, "Error": error, "OOMKilled": False,
            "FinishedAt": "0001-01-01T00:00:00Z",
        },
        "Config": {"Labels": LABELS},
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {"Networks": {"another": {"IPAddress": "10.9.0.1"}, "ours": {"IPAddress": ip}}, "Ports": {}},
    }  # fmt: skip
    return read({**found, **more}, InspectedContainer)


@pytest.mark.parametrize(
    ("headers", "dialect"),
    [
        ({"libpod-api-version": "5.4.2", "server": "Libpod/5.4.2 (linux)"}, PODMAN),
        ({"Libpod-API-Version": "5.4.2"}, PODMAN),
        ({"server": "Docker/26.1.5 (linux)"}, DOCKER),
        ({}, DOCKER),
    ],
)
def test_the_headers_of_a_response_tell_the_dialect(headers: dict[str, str], dialect: Dialect) -> None:
    assert dialect_of(headers) is dialect
    assert dialect_of(headers, PODMAN) is PODMAN  # the response to an attach has none


@pytest.mark.parametrize(
    ("status", "running", "exit_code", "address"),
    [
        ("created", False, 0, ""),
        ("running", True, None, "10.0.0.5:80"),
        ("stopping", True, None, "10.0.0.5:80"),
        ("paused", True, None, "10.0.0.5:80"),
        ("stopped", False, 0, ""),
        ("exited", False, 0, ""),
    ],
)
def test_states(status: str, running: bool, exit_code: int | None, address: str) -> None:
    state = container_state(PODMAN.container(inspected(status)))
    assert (state.running, state.exit_code, state.address) == (running, exit_code, address)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (f"crun: executable file `/nosuch` not found: No such file or directory: {NOT_FOUND}", 127),
        ("crun: the path `/etc/passwd` exists but it is not executable: Operation not permitted: OCI permission denied", 126),
        ("IPAM error: requested ip address 10.99.0.7 is already allocated to container ID 9d37", 0),
        ("", 0),
    ],
)  # fmt: skip
def test_the_exit_code_of_a_command_that_could_not_be_started(error: str, code: int) -> None:
    assert container_state(PODMAN.container(inspected("created", error=error))).exit_code == code


def test_an_exit_code_stays() -> None:
    assert container_state(PODMAN.container(inspected("exited", 3, NOT_FOUND))).exit_code == 3
    assert container_state(PODMAN.container(inspected("exited", 0, NOT_FOUND))).exit_code == 0


def test_the_address_of_a_container_without_a_label_is_its_first() -> None:
    found = inspected("running", Config={"Labels": None})
    assert container_state(PODMAN.container(found)).address == "10.9.0.1"


@pytest.mark.parametrize(("listed", "state"), [("stopping", "running"), ("stopped", "exited"), ("created", "created")])
def test_rows(listed: str, state: str) -> None:
    row = {"Id": "c1", "Names": ["/web-r1-1"], "State": listed, "Labels": LABELS, "ImageID": "sha256:1"}
    [replica] = containers([PODMAN.row(read(row, ListedContainer))]).replicas
    assert replica.state == state


@pytest.mark.parametrize(
    ("labelled", "ours"), [({"conductor.name": "web-r1-1"}, 1), ({}, 1), ({"conductor.name": "x"}, 0)]
)
def test_a_container_has_the_name_of_its_label(labelled: dict[str, str], ours: int) -> None:
    row = {"Id": "c1", "Names": ["/web-r1-1"], "State": "running", "Labels": LABELS | labelled, "ImageID": "sha256:1"}
    assert len(containers([read(row, ListedContainer)]).replicas) == ours


@pytest.mark.parametrize(
    ("written", "reference"),
    [
        ("docker.io/library/shop:r1", "shop:r1"),
        ("docker.io/team/shop:r1", "team/shop:r1"),
        ("localhost/shop:r1", "shop:r1"),
        ("registry.example/shop:r1", "registry.example/shop:r1"),
    ],
)
def test_names_of_images_are_those_of_definitions(written: str, reference: str) -> None:
    answer = {"Id": "sha256:1", "RepoTags": [written], "RepoDigests": [f"{written.partition(':')[0]}@sha256:2"]}
    found = read(answer, InspectedImage)
    assert PODMAN.image(found).repo_tags == [reference]
    assert image(PODMAN.image(found), reference).digest == f"{reference.partition(':')[0]}@sha256:2"
    assert DOCKER.image(found) is found


@pytest.mark.parametrize(
    ("lease", "tasks"),
    [({"start_ip": "10.99.0.193", "end_ip": "10.99.0.255"}, "10.99.0.192/26"), (None, None)],
)
def test_the_range_of_a_network_is_that_of_its_leases(lease: dict[str, str] | None, tasks: str | None) -> None:
    asked = []

    def get(path: str) -> PodmanNetwork:
        asked.append(path)
        subnets = [{"subnet": "10.99.0.0/24", "gateway": "10.99.0.1", "lease_range": lease}]
        return read({"subnets": subnets}, PodmanNetwork)

    listed = read({"Name": "ours", "Labels": {"x": "y"}, "IPAM": {"Config": []}}, ListedNetwork)
    found = PODMAN.network(listed, get)
    assert found.ipam.config == [Pool(subnet="10.99.0.0/24", ip_range=tasks)]
    assert (found.labels, asked) == ({"x": "y"}, ["/v5.0.0/libpod/networks/ours/json"])


@pytest.mark.parametrize(
    ("version", "supported"),
    [("5.4.2", True), ("5.5.0-rc1", True), ("6.0.0", True), ("10.0.0", True), ("4.3.1", False)],
)
def test_podman_5_is_required(version: str, supported: bool) -> None:
    info = Info(live_restore_enabled=False, system_time="2026-11-29T19:55:49Z")
    found = daemon(info, Version(version=version, api_version="1.41"), local=True, dialect=PODMAN)
    assert (found.product, found.version, found.supported, found.keeps_containers) == (
        "Podman",
        version,
        supported,
        True,
    )


def test_exit_codes() -> None:
    assert DOCKER.exit_code(b'{"StatusCode": 3, "Error": null}') == 3
    assert PODMAN.exit_code(b"3\n") == 3
    with pytest.raises(MalformedResponse):
        PODMAN.exit_code(b"")


@pytest.mark.parametrize(
    ("base_url", "expected"),
    [
        ("unix:///run/podman/podman.sock", ("Podman", "podman.socket")),
        ("unix:///var/run/docker.sock", ("Docker", "docker")),
        ("tcp://10.0.0.1:2375", ("Docker", "docker")),
    ],
)
def test_the_product_that_is_expected_at_an_address(base_url: str, expected: tuple[str, str]) -> None:
    assert product_at(base_url) == expected


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            f"crun: executable file `/nosuch` not found: No such file or directory: {NOT_FOUND}",
            "executable file `/nosuch` not found: no such file or directory",
        ),
        (
            "preparing container c1 for attach: crun: cannot open `/x`: Permission denied: OCI runtime error",
            "cannot open `/x`: permission denied",
        ),
        (
            "IPAM error: requested ip address 10.0.0.7 is allocated",
            "IPAM error: requested ip address 10.0.0.7 is allocated",
        ),
    ],
)
def test_messages_of_podman(text: str, shown: str) -> None:
    assert message(text) == shown
