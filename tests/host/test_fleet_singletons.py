"""A service with `order: stop-first` on three whole hosts: never two of it, whatever happens to its node."""

import itertools
import json
import time
from collections.abc import Iterator

import pytest

from tests.support.cookbook import converge
from tests.support.machine import Machine
from tests.support.site import load_app
from tests.support.swarm import swarm_hosts

pytestmark = pytest.mark.long
JOB = {
    "image": "conductor-test-app", "order": "stop-first", "health": {"none": True, "stable_for": "500ms"},
    "env": {"CLOCK_LOG": "/clock/log"}, "volumes": ["clock:/clock"], "stop": {"grace": "3s"},
}  # fmt: skip
LOG = "/var/lib/docker/volumes/clock/_data/log"
PARTITION_SECONDS = 60
LIMIT_SECONDS = 300.0  # after a partition, managers may elect a leader several times
APART = 0.2  # seconds: an app that is killed writes no last line


class Fleet:
    """Three managers. Commands are typed on `deployer`, which is not the node of the service."""

    def __init__(self, machines: dict[str, Machine]) -> None:
        self.machines = machines
        self.deployer = machines["h2"]

    def conductor(self, *words: str) -> None:
        self.deployer.run("conductor", "service", *words, "--id", "job")

    def replica(self) -> dict[str, str]:
        found = json.loads(self.deployer.run("conductor", "service", "status", "--json", "--id", "job").stdout)
        [replica] = found["services"][0]["replicas"]
        return dict(replica)

    def containers(self, *names: str) -> int:
        """How many run on these nodes."""
        return sum(len(self.machines[name].run("docker", "ps", "-q").stdout.split()) for name in names)

    def lives(self, node: str) -> list[tuple[float, float]]:
        """When each instance on a node was seen first and last, in order."""
        times: dict[str, list[float]] = {}
        for line in self.machines[node].read(LOG).splitlines():
            at, host, *_ = line.split()
            times.setdefault(host, []).append(float(at))
        return sorted((min(one), max(one)) for one in times.values())


@pytest.fixture(scope="module")
def fleet(images: None) -> Iterator[Fleet]:
    with swarm_hosts("h1", "h2", "h3") as hosts:
        machines = {one.machine.name: one.machine for one in hosts}
        for machine in machines.values():
            load_app(machine)
        converge(machines["h2"], {"job": JOB}, host={"fleet": {"ports": [21000, 21099]}})
        yield Fleet(machines)


def assert_never_two(lives: list[tuple[float, float]]) -> None:
    assert all(later[0] > earlier[1] - APART for earlier, later in itertools.pairwise(lives)), lives


def test_deploys_and_a_partition_and_the_loss_of_its_node(fleet: Fleet) -> None:
    fleet.conductor("upgrade", "--revision", "r1")
    node = fleet.replica()["node"]
    others = tuple(fleet.machines.keys() - {node})
    assert node != "h2"  # the manager that deploys has more tasks, or a later name
    fleet.conductor("upgrade", "--revision", "r2")
    fleet.conductor("restart")
    assert fleet.replica()["node"] == node
    lives = fleet.lives(node)
    assert len(lives) == 3
    assert_never_two(lives)

    machine = fleet.machines[node]
    cut = (("INPUT", "-i"), ("OUTPUT", "-o"))
    for chain, direction in cut:
        machine.run("iptables", "-I", chain, direction, "eth0", "-j", "DROP")
    began = time.monotonic()
    try:
        fleet.deployer.wait_for(lambda: fleet.replica()["state"] == "node-down", "the node to be down", LIMIT_SECONDS)
        while time.monotonic() - began < PARTITION_SECONDS:
            assert fleet.containers(*others) == 0
            time.sleep(1)
    finally:
        for chain, direction in cut:
            machine.run("iptables", "-D", chain, direction, "eth0", "-j", "DROP")
    fleet.deployer.wait_for(lambda: fleet.replica()["state"] == "running", "it runs again", LIMIT_SECONDS)
    time.sleep(10)  # two would be seen by then
    assert fleet.containers(*others, node) == 1
    assert_never_two(fleet.lives(node))

    machine.power_off(orderly=False)
    fleet.deployer.wait_for(lambda: fleet.replica()["state"] == "node-down", "the node to be down", LIMIT_SECONDS)
    words = ("conductor", "service", "restart", "--id", "job")
    refused = fleet.deployer.run(*words, check=False)
    assert (refused.code, f"--node-is-gone {node}" in refused.stderr) == (1, True), refused
    assert fleet.containers(*others) == 0
    fleet.deployer.run(*words, "--node-is-gone", node)
    assert fleet.replica()["node"] in others
    machine.power_on()
    time.sleep(10)
    assert fleet.containers(*others, node) == 1
    assert fleet.replica()["node"] in others
