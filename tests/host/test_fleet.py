"""The commands of a single host in a fleet of three whole hosts: every manager deploys, and every edge confirms."""

import contextlib
import itertools
import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.support.managers import NODES, Managers, fleet_managers

pytestmark = pytest.mark.long
ROUNDS, UPGRADES = 4, 5
REVISIONS = ("r2", "r3", "r4", "r5", "r6", "r7", "r1")  # more than are seen in a round
CLIENTS = 2  # of each kind, on each edge


@pytest.fixture(scope="module")
def managers(images: None) -> Iterator[Managers]:
    with fleet_managers() as made:
        made.conductor("h1", "service", "upgrade", "--id", "worker", "--revision", "r1")
        yield made


def test_upgrades_from_managers_in_turn_lose_no_request_on_any_edge(managers: Managers) -> None:
    """Each release is upgraded once in a round, so its last answer can be compared with its retirement."""
    managers.upgrade("h1", "r1")
    turns, revisions, live = itertools.cycle(NODES), itertools.cycle(REVISIONS), "r1"
    for _ in range(ROUNDS):
        retired: dict[str, float] = {}
        with managers.loads(*NODES, busy=3, idle=3) as loads:
            for _ in range(UPGRADES):
                revision, node = next(revisions), next(turns)
                with managers.watched(node) as between:
                    process = managers.spawn_watched(node, "service", "upgrade", "--id", "shop", "--revision", revision)
                    _, err = process.communicate(timeout=300)
                assert process.returncode == 0, err
                retired[live], live = between.writes["stop"], revision
            results = [load.stop() for load in loads]
        assert [one.lost for one in results] == [0, 0, 0]
        for result in results:
            assert result.revisions.keys() == {*retired, live}
            late = {old: result.revisions[old].asked - at for old, at in retired.items()}
            print({old: f"{seconds:.2f} s" for old, seconds in late.items()})
            assert max(late.values()) < 0, late
        assert managers.left(live) == []
    managers.upgrade("h1", "r1")
    assert managers.services() == ["shop r1", "shop r1", "worker r1"]


def test_the_state_is_the_same_on_every_manager(managers: Managers) -> None:
    for node in NODES:
        found = json.loads(managers.conductor(node, "service", "status", "--json").stdout)
        [shop] = [one for one in found["services"] if one["service"] == "shop"]
        assert shop["revision"] == "r1", shop


def test_other_commands_on_any_manager(managers: Managers) -> None:
    """The logs of replicas on all nodes, and tasks with the release that another manager has deployed."""
    managers.upgrade("h2", "r2")
    managers.upgrade("h1", "r1")
    logs = managers.conductor("h2", "service", "logs", "--id", "shop").stdout
    assert len({line.split()[0] for line in logs.splitlines()}) >= 2, logs
    assert managers.conductor("h3", "run", "--id", "shop", "--", "sh", "-c", "echo $REVISION").stdout.strip() == "r1"
    assert "r1" in managers.conductor("h1", "service", "history", "--id", "shop").stdout
    managers.conductor("h2", "service", "scale", "--id", "shop", "--count", "3")
    assert managers.services() == ["shop r1"] * 3 + ["worker r1"]
    managers.conductor("h3", "service", "scale", "--id", "shop", "--reset")
    managers.conductor("h2", "service", "maintenance", "--id", "shop", "on", "--message", "at noon", check=False)
    managers.conductor("h2", "service", "maintenance", "--id", "shop", "off", check=False)
    managers.conductor("h2", "service", "rollback", "--id", "shop", "--to", "r2")
    assert managers.services() == ["shop r2", "shop r2", "worker r1"]
    managers.conductor("h3", "service", "stop", "--id", "shop")
    assert managers.services() == ["worker r1"]
    managers.conductor("h1", "service", "start", "--id", "shop")
    assert managers.services() == ["shop r2", "shop r2", "worker r1"]
    found = managers.conductor("h2", "doctor", check=False)
    assert "Traceback" not in found.stderr
    print(found)


def test_two_managers_at_once(managers: Managers) -> None:
    """The first one waits for replicas that do not become healthy, so it is still there when the second one comes."""
    machine, before = managers.machines["h1"], managers.services()
    first = machine.spawn("conductor", "service", "upgrade", "--id", "shop", "--revision", "r8")
    machine.wait_for(lambda: "shop r8" in managers.services(), "a new replica", 30)
    second = managers.upgrade("h2", "r4", check=False)
    _, err = first.communicate(timeout=120)
    assert (first.returncode, second.code, "h1" in second.stderr) == (1, 5, True), (err, second)
    assert managers.services() == before


def test_a_broken_release_is_refused_and_nothing_is_left(managers: Managers) -> None:
    before = managers.services()
    failed = managers.upgrade("h3", "r9", check=False)
    assert failed.code == 1
    assert managers.services() == before


def test_an_edge_that_does_not_answer_is_named_and_is_right_once_it_is_back(managers: Managers) -> None:
    managers.upgrade("h1", "r1")
    managers.machines["h3"].run("systemctl", "stop", "conductor-supervise")
    failed = managers.upgrade("h1", "r2", check=False)
    assert (failed.code, "edge h3" in failed.stderr) == (1, True), failed
    assert managers.services() == ["shop r1", "shop r1", "worker r1"]
    managers.upgrade("h2", "r2", "--without-edge", "h3")
    assert managers.served("h3") != managers.served("h1")
    managers.machines["h3"].run("systemctl", "start", "conductor-supervise")
    managers.machines["h3"].wait_for(
        lambda: managers.served("h3") == managers.served("h1"), "the edge serves the release", 20
    )


def kill_a_deployer(managers: Managers) -> None:
    """Kill an upgrade whose new replicas do not become healthy, so that it is still at its gate."""
    managers.upgrade("h1", "r1")
    machine = managers.machines["h1"]
    process = machine.spawn("conductor", "service", "upgrade", "--id", "shop", "--revision", "r8")
    machine.wait_for(lambda: "shop r8" in managers.services(), "a new replica", 30)
    machine.run("pkill", "-KILL", "-f", "service upgrade --id shop")
    process.communicate(timeout=30)


def test_a_killed_deployer_is_recovered_on_another_manager(managers: Managers) -> None:
    kill_a_deployer(managers)
    managers.upgrade("h2", "r4")
    assert managers.services() == ["shop r4", "shop r4", "worker r1"]
    assert len({managers.served(node) for node in NODES}) == 1


def test_a_killed_deployer_is_recovered_by_supervise(managers: Managers) -> None:
    kill_a_deployer(managers)
    whole = ["shop r1", "shop r1", "worker r1"]
    managers.machines["h1"].wait_for(
        lambda: managers.recovered() and managers.services() == whole, managers.describe, 90
    )
    assert len({managers.served(node) for node in NODES}) == 1


def test_a_replica_that_hangs_is_replaced_by_one_manager(managers: Managers) -> None:
    managers.upgrade("h1", "r1")
    before, repairs = managers.endpoints("h1"), managers.repairs()
    address, _, port = min(before).partition(":")
    node = next(name for name, one in managers.machines.items() if one.address == address)
    container = managers.machines[node].run("docker", "ps", "-q", "--filter", f"publish={port}").stdout.strip()
    managers.machines[node].run("docker", "kill", "--signal", "STOP", container)
    managers.machines["h1"].wait_for(lambda: managers.repairs() > repairs, managers.describe, 120)
    managers.machines["h1"].wait_for(
        lambda: all(len(managers.endpoints(one)) == 2 for one in NODES) and managers.recovered(), managers.describe, 60
    )
    after = managers.endpoints("h1")
    assert (len(after & before), managers.repairs()) == (1, repairs + 1)
    assert managers.services() == ["shop r1", "shop r1", "worker r1"]
    assert {frozenset(managers.endpoints(one)) for one in NODES} == {frozenset(after)}


def test_replicas_of_a_release_run_on_different_nodes(managers: Managers) -> None:
    """Swarm alone would start both on the node with the fewest tasks."""
    h1 = managers.machines["h1"]
    for node in ("h1", "h2"):
        command = ("docker", "service", "create", "--name", f"busy-{node}", "--constraint", f"node.hostname=={node}")
        h1.run(*command, "--replicas", "6", "--no-resolve-image", "conductor-test-app:r1", "sleep", "infinity")
    try:
        managers.upgrade("h1", "r3")
        assert len({endpoint.partition(":")[0] for endpoint in managers.endpoints("h1")}) == 2
    finally:
        h1.run("docker", "service", "rm", "busy-h1", "busy-h2")


def test_an_edge_that_is_stopped_for_ten_seconds_is_waited_for(managers: Managers) -> None:
    managers.upgrade("h1", "r1")
    h2 = managers.machines["h2"]
    with managers.load("h2", busy=2, idle=2) as load:
        h2.run("systemctl", "kill", "--signal=STOP", "conductor-supervise")
        try:
            process = managers.machines["h1"].spawn(
                "conductor", "service", "upgrade", "--id", "shop", "--revision", "r2"
            )  # fmt: skip
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(10)
        finally:
            h2.run("systemctl", "kill", "--signal=CONT", "conductor-supervise")
        _, err = process.communicate(timeout=120)
        result = load.stop()
    assert (process.returncode, result.lost) == (0, 0), (err, result)
    assert managers.services() == ["shop r2", "shop r2", "worker r1"]


def test_a_job_runs_on_one_manager_each_minute_also_through_the_loss_of_the_leader(managers: Managers) -> None:
    managers.conductor("h2", "service", "upgrade", "--id", "nightly", "--revision", "r1")
    for one in managers.machines.values():
        one.wait_for(lambda one=one: one.exists("/etc/cron.d/conductor-nightly"), "the crontab", 30)
    h1 = managers.machines["h1"]
    h1.wait_for(lambda: len(managers.job_minutes(*NODES)) >= 2, "two runs", 240)
    leader = next(name for name in NODES if managers.is_leader(name))
    others = [name for name in NODES if name != leader]
    before = len(managers.job_minutes(*others))
    managers.machines[leader].power_off(orderly=False)
    managers.machines[others[0]].wait_for(lambda: len(managers.job_minutes(*others)) >= before + 2, "two more", 300)
    managers.machines[leader].power_on()
    managers.machines[others[0]].wait_for(lambda: managers.all_reachable(others[0]), "three managers", 180)
    minutes = managers.job_minutes(*NODES)
    print(sorted(minutes))
    assert len(set(minutes)) == len(minutes)
    managers.conductor(others[0], "cron", "remove", "--id", "nightly")
    for one in managers.machines.values():
        one.wait_for(lambda one=one: not one.exists("/etc/cron.d/conductor-nightly"), "its removal", 60)


def place_on(managers: Managers, node: str) -> None:
    """Restart until a node runs a replica: which nodes do is chosen by Swarm."""
    for _ in range(8):
        if managers.machines[node].address in managers.served("h1"):
            return
        managers.conductor("h1", "service", "restart", "--id", "shop")
    raise AssertionError(managers.served("h1"))


@pytest.mark.parametrize("leads", [False, True], ids=["follower", "leader"])
def test_a_node_that_is_lost_and_returns(managers: Managers, leads: bool) -> None:
    """Its replicas leave every other nginx, run elsewhere, and are not doubled when it is back."""
    managers.upgrade("h1", "r1")
    lost = next(name for name in ("h3", "h2", "h1") if managers.is_leader(name) is leads)
    place_on(managers, lost)
    machine, others = managers.machines[lost], [name for name in NODES if name != lost]
    first = managers.machines[others[0]]
    with contextlib.ExitStack() as stack:
        loads = [stack.enter_context(managers.load(node, busy=CLIENTS, idle=CLIENTS)) for node in others]
        began = time.monotonic()
        machine.power_off(orderly=False)
        for node in others:
            first.wait_for(lambda node=node: machine.address not in managers.served(node), "the ejection", 60)
        ejected = time.monotonic() - began
        first.wait_for(lambda: all(len(managers.endpoints(node)) == 2 for node in others), "two replicas", 180)
        whole = time.monotonic() - began
        results = [load.stop() for load in loads]
    print(f"ejected after {ejected:.1f} s, two replicas after {whole:.1f} s", *results, sep="\n")
    assert all(one.lost <= 2 * CLIENTS for one in results), results  # at most what each client had in flight
    machine.power_on()
    first.wait_for(lambda: managers.endpoints(lost) == managers.endpoints(others[0]), "the edge is right", 180)
    assert managers.services() == ["shop r1", "shop r1", "worker r1"]
    first.wait_for(lambda: managers.all_reachable(others[0]), "three managers", 120)
    managers.upgrade(lost, "r2")
    assert managers.services() == ["shop r2", "shop r2", "worker r1"]
