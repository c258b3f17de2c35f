"""Networks and addresses that another program uses: refused by name before anything is created, or skipped."""

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import docker.types

from tests.support.aftermath import QUICK, failed, nothing_left_behind, reservations
from tests.support.host import TestHost, merged
from tests.support.images import APP

STILL = "web is still running r1 with 1 replica\n"


def test_the_name_of_a_foreign_network(serving: TestHost) -> None:
    name = f"{serving.network}-foreign"
    network = serving.daemon.api.create_network(name)["Id"]
    try:
        serving.define({"web": QUICK}, host_extra={"network": {"name": name}})
        failed(
            serving.upgrade("r2"), 1,
            f"cannot upgrade web: cannot use network {name}: the existing network of that name ",
            f"docker network rm {name}", STILL,
        )  # fmt: skip
        assert not serving.daemon.api.inspect_network(network)["Containers"]
    finally:
        serving.daemon.api.remove_network(network)
    nothing_left_behind(serving, "r1")


def test_a_subnet_that_is_not_the_one_the_network_has(serving: TestHost) -> None:
    first = serving.subnet.rpartition(".")[0]
    serving.define({"web": QUICK}, host_extra={"network": {"tasks": f"{first}.128/25"}})
    failed(
        serving.upgrade("r2"), 1,
        f"cannot use network {serving.network}: it has subnet {serving.subnet} with {first}.192/26 for tasks, "
        f"but the definitions file has {serving.subnet} with {first}.128/25",
        f"docker network rm {serving.network}", STILL,
    )  # fmt: skip
    nothing_left_behind(serving, "r1")


def test_a_subnet_that_covers_a_route_of_the_host(serving: TestHost) -> None:
    wide, name = serving.subnet.replace(".0/24", ".0/25"), f"{serving.network}-routed"
    tasks = serving.subnet.replace(".0/24", ".64/26")
    network = {"name": name, "subnet": wide, "tasks": tasks}
    serving.define({"web": QUICK}, host_extra={"network": network})
    failed(
        serving.upgrade("r2"), 1,
        f"cannot create network {name}: its subnet {wide} overlaps the host's route {serving.subnet} dev ",
        "choose another host.network.subnet", STILL,
    )  # fmt: skip
    assert serving.daemon.api.networks(names=[name]) == []
    nothing_left_behind(serving, "r1")


def test_a_service_that_never_ran_leaves_nothing(host: TestHost) -> None:
    """Not even a network."""
    subnet = host.claims.subnet()
    pool = docker.types.IPAMPool(subnet=subnet)
    ipam = docker.types.IPAMConfig(pool_configs=[pool])
    foreign = host.daemon.api.create_network(f"{host.network}-foreign", ipam=ipam)["Id"]
    try:
        tasks = subnet.replace(".0/24", ".192/26")
        host.define({"web": QUICK}, host_extra={"network": {"subnet": subnet, "tasks": tasks}})
        failed(
            host.upgrade("r1"), 1,
            f"cannot upgrade web: cannot create network {host.network}: its subnet {subnet} overlaps the host's route",
            "web has never been deployed on this host and is not running",
        )  # fmt: skip
    finally:
        host.daemon.api.remove_network(foreign)
    nothing_left_behind(host, None)
    assert host.daemon.networks() == []


def test_the_address_of_a_foreign_container_is_skipped(serving: TestHost) -> None:
    (live,) = serving.containers("web")
    first, _, last = live.address.rpartition(".")
    taken, after = f"{first}.{int(last) + 1}", f"{first}.{int(last) + 2}"
    with foreign_container(serving, taken) as container:
        serving.upgrade("r2", check=True)
        assert [c.address for c in serving.containers("web")] == [after]
        assert serving.daemon.api.inspect_container(container)["State"]["Running"]
    nothing_left_behind(serving, "r2")


def test_a_network_without_a_free_address(host: TestHost) -> None:
    """A /28 has 13 addresses beside the bridge's own, 8 of them for tasks, and two foreign containers have two."""
    small = host.subnet.replace(".0/24", ".0/28")
    network = {"subnet": small, "tasks": host.subnet.replace(".0/24", ".8/29")}
    host.define({"web": merged(QUICK, {"count": 4})}, host_extra={"network": network})
    host.upgrade("r1", check=True)
    told = failed(
        host.upgrade("r2"), 1,
        f"cannot upgrade web: cannot reserve 4 addresses in {small}: ",
        "widen the range, or wait until old nginx workers have exited",
        "web is still running r1 with 4 replicas",
    )  # fmt: skip
    assert "roll back the upgrade of web" in told
    nothing_left_behind(host, "r1", count=4)


def test_a_published_port_that_another_program_has(host: TestHost) -> None:
    low, _ = host.claims.ports(3)
    host.define({"web": merged(QUICK, {"publish": [low, low + 2]})})
    host.upgrade("r1", check=True)
    with socket.create_server(("127.0.0.1", low + 1)):
        told = failed(
            host.upgrade("r2"), 1, "cannot upgrade web: cannot start container web-r2-",
            f"127.0.0.1:{low + 1}", "address already in use", STILL,
        )  # fmt: skip
        assert told.count("\n") < 10
        nothing_left_behind(host, "r1")
        host.upgrade("r2", check=True)  # the cursor has moved on
        nothing_left_behind(host, "r2")
    assert reservations(host) == {}


@contextlib.contextmanager
def foreign_container(host: TestHost, address: str) -> Iterator[str]:
    """Run a container that Conductor did not create on its network, at `address`."""
    api: Any = host.daemon.api
    endpoint = api.create_networking_config({host.network: api.create_endpoint_config(ipv4_address=address)})
    made = api.create_container(f"{APP}:r1", host_config=api.create_host_config(), networking_config=endpoint)
    try:
        api.start(made["Id"])
        yield made["Id"]
    finally:
        api.remove_container(made["Id"], force=True)
