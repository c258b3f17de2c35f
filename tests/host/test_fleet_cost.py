"""What a fleet costs: an upgrade beside that of a single host, and an edge and the managers' log at rest with sixty replicas."""

import json
import statistics
import time
from collections.abc import Iterator

import pytest

from tests.support.cookbook import converge, service
from tests.support.machine import Machine
from tests.support.managers import NODES, PORT, SERVICES, Managers, fleet_managers
from tests.support.site import load_app

pytestmark = pytest.mark.long
PAIRS = 5
MOST_RATIO = 1.5  # of an upgrade's time to that on a single host
MOST_OF_A_CORE = 0.01
REST_SECONDS = 60.0
REPLICAS = 60
TICKS_PER_SECOND = 100
SHOP = {"shop": SERVICES["shop"], "slow": service("slow", PORT + 2, env={"BOOT": "4"})}
# Starts two replicas and stops them, and prints how many seconds both take.
SWARM_ALONE = """\
tasks() { docker service ps --format '{{.CurrentState}}' alone-1 alone-2; }
began=$(date +%s.%N)
for one in 1 2; do
    docker service create --quiet --detach --no-resolve-image --name alone-$one \
        --publish mode=host,target=8080,published=2219$one conductor-test-app:r1 >/dev/null
done
until [ "$(tasks | grep -c ^Running)" = 2 ]; do sleep 0.02; done
docker service scale --detach alone-1=0 alone-2=0 >/dev/null
while [ -n "$(tasks)" ]; do sleep 0.02; done
ended=$(date +%s.%N)
docker service rm alone-1 alone-2 >/dev/null
python3 -c "print($ended - $began)"
"""


@pytest.fixture(scope="module")
def managers(images: None) -> Iterator[Managers]:
    many = service("many", PORT + 1, count=REPLICAS)
    del many["health"]["interval"]  # the default one
    with fleet_managers({**SHOP, "many": many}) as made:
        yield made


def seconds_of(machine: Machine, id_: str, revision: str) -> float:
    began = time.monotonic()
    machine.run("conductor", "service", "upgrade", "--id", id_, "--revision", revision)
    return time.monotonic() - began


def test_an_upgrade_beside_that_of_a_single_host(managers: Managers) -> None:
    """By turns, with the same definition, on the same machine. `slow` boots in 4 s. That of an app that boots at once cannot take less
    than Swarm alone takes to start the same replicas and to stop them."""
    with Machine("single") as single:
        load_app(single)
        converge(single, SHOP, host={"nginx": {"announce": "2s"}})
        hosts, medians = (single, managers.machines["h1"]), {}
        for id_ in SHOP:
            for machine in hosts:
                seconds_of(machine, id_, "r1")
            pairs = [[seconds_of(one, id_, ("r2", "r1")[number % 2]) for one in hosts] for number in range(PAIRS)]
            medians[id_] = [statistics.median(each) for each in zip(*pairs, strict=True)]
    alone = statistics.median(float(managers.machines["h1"].run("sh", "-c", SWARM_ALONE).stdout) for _ in range(PAIRS))
    ratios = {id_: fleet / of_single for id_, (of_single, fleet) in medians.items()}
    print(f"{medians}; ratios {ratios}; Swarm alone {alone:.2f} s")
    assert ratios["slow"] <= MOST_RATIO
    assert medians["shop"][1] <= MOST_RATIO * medians["shop"][0] + alone


def raft_writes(machine: Machine) -> int:
    """Return a number that grows with each write of the managers; the call makes two, the second one after the number is read."""
    script = "echo x | docker config create probe - >/dev/null; docker config inspect --format '{{.Version.Index}}' probe; docker config rm probe"
    return int(machine.run("sh", "-c", script).stdout.split()[0])


def processor_seconds(machine: Machine) -> float:
    """Return what `supervise` and the programs that it has run have used."""
    pid = machine.run("systemctl", "show", "--property", "MainPID", "--value", "conductor-supervise").stdout.strip()
    words = machine.read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return sum(map(int, words[11:15])) / TICKS_PER_SECOND


def test_an_edge_and_the_managers_at_rest_with_many_replicas(managers: Managers) -> None:
    managers.conductor("h1", "service", "upgrade", "--id", "many", "--revision", "r1")
    status = json.loads(managers.conductor("h1", "service", "status", "--json", "--id", "many").stdout)
    assert len(status["services"][0]["replicas"]) == REPLICAS
    time.sleep(REST_SECONDS)  # edges read often for a minute after a request
    machines = [managers.machines[node] for node in NODES]
    before, writes, began = [processor_seconds(one) for one in machines], raft_writes(machines[0]), time.monotonic()
    time.sleep(REST_SECONDS)
    made, took = raft_writes(machines[0]) - writes - 2, time.monotonic() - began
    used = [(processor_seconds(one) - at) / took for one, at in zip(machines, before, strict=True)]
    print(f"{made} writes in {took:.0f} s; of a core:", *(f"{one:.2%}" for one in used))
    assert made == 0
    assert max(used) <= MOST_OF_A_CORE
