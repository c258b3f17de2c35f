"""Six services in a fleet: the reboot of a node, and a restart of the leader's dockerd during an upgrade."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from tests.support.cookbook import service
from tests.support.daemon_between import Fault
from tests.support.managers import NODES, PORT, SERVICES, Managers, fleet_managers
from tests.support.witness import Witness, ask

pytestmark = pytest.mark.long
OTHERS = {f"app{number}": PORT + number for number in range(1, 6)}
SITES = {"shop": PORT, **OTHERS}
CLIENTS = 2  # of each kind, on each edge
IDS = [word for name in SITES for word in ("--id", name)]


@pytest.fixture(scope="module")
def managers(images: None) -> Iterator[Managers]:
    with fleet_managers(
        {"shop": SERVICES["shop"], **{name: service(name, port) for name, port in OTHERS.items()}}
    ) as made:
        made.conductor("h1", "service", "upgrade", *IDS, "--revision", "r1")
        yield made


@contextlib.contextmanager
def witnesses(managers: Managers, *nodes: str) -> Iterator[list[Witness]]:
    """Clients of all services on each of these edges."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Witness(managers.machines[node].address, SITES)) for node in nodes]


def all_serve(managers: Managers, revision: str) -> bool:
    """Whether each service answers on each edge as itself."""
    seen = [ask(managers.machines[node].address, port, name) for node in NODES for name, port in SITES.items()]
    return all((one.status, one.answered, one.revision) == (200, one.service, revision) for one in seen)


@pytest.mark.parametrize("orderly", [True, False], ids=["reboot", "power-loss"])
@pytest.mark.parametrize("upgraded", [False, True], ids=["at-rest", "upgraded-meanwhile"])
def test_a_node_that_boots_again_never_answers_as_another_app(
    managers: Managers, orderly: bool, upgraded: bool
) -> None:
    """Meanwhile its edge misses an upgrade of all services, which have other ports after it."""
    machine = managers.machines["h3"]
    with witnesses(managers, *NODES) as seen:
        before = managers.live()
        revision = "r2" if before == "r1" else "r1"
        machine.power_off(orderly=orderly)
        if upgraded:
            managers.conductor("h1", "service", "upgrade", *IDS, "--revision", revision, "--without-edge", "h3")
        machine.power_on()
        expected = revision if upgraded else before
        machine.wait_for(lambda: all_serve(managers, expected), "all services on all edges", 240)
        time.sleep(10)  # Swarm moves nothing back, and an edge follows within seconds
        assert all_serve(managers, expected)
    wrong = [one for witness in seen for one in witness.wrong()]
    print({node: len(witness.seen) for node, witness in zip(NODES, seen, strict=True)})
    assert not wrong
    machine.wait_for(lambda: managers.all_reachable("h1"), "three managers", 120)
    machine.wait_for(
        lambda: sorted(managers.services()) == [f"{name} {expected}" for name in sorted(SITES) for _ in range(2)],
        managers.services,
        60,
    )


@pytest.mark.parametrize("runs_replicas", [False, True], ids=["without-replicas", "with-replicas"])
def test_dockerd_of_the_leader_restarts_during_an_upgrade(managers: Managers, runs_replicas: bool) -> None:
    """The upgrade ends as its exit code says. At most the requests in flight to replicas of that node are lost: none without."""
    leader = next(name for name in NODES if managers.is_leader(name))
    others = [name for name in NODES if name != leader]
    deployer = managers.machines[others[0]]
    availability = "active" if runs_replicas else "drain"
    deployer.run("docker", "node", "update", "--availability", availability, leader)
    try:
        managers.conductor(others[0], "service", "upgrade", *IDS, "--revision", "r3")
        with managers.loads(*NODES, busy=CLIENTS, idle=CLIENTS) as loads, managers.watched(others[0]) as between:
            restarted: list[float] = []

            def restart() -> None:
                if not restarted:
                    restarted.append(time.monotonic())
                    managers.machines[leader].run("systemctl", "restart", "--no-block", "docker")

            between.act_at("start 2", Fault("call", first=restart))
            process = managers.spawn_watched(others[0], "service", "upgrade", "--id", "shop", "--revision", "r4")
            _, err = process.communicate(timeout=600)
            print(f"exit code {process.returncode}", err)
            assert restarted
            revision = "r3" if process.returncode == 1 else "r4"
            deployer.wait_for(lambda: managers.all_reachable(others[0]), "three managers", 120)
            managers.settle(revision, 180)
            results = [load.stop() for load in loads]
        allowed = 2 * CLIENTS if runs_replicas else 0
        assert all(one.lost <= allowed for one in results), results
    finally:
        deployer.run("docker", "node", "update", "--availability", "active", leader)
