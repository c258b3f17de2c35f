"""Broken revisions in a fleet: each is refused with its cause and the app's own words, and the live release serves on."""

import json
from collections.abc import Iterator

import pytest

from tests.support.cookbook import service
from tests.support.host import merged
from tests.support.managers import NODES, PORT, PORTS, SERVICES, Managers, fleet_managers

pytestmark = pytest.mark.long
APP = "conductor-test-app"
FAULTS = {"FAULT_r7": "500", "FAULT_r8": "never", "FAULT_r9": "exit"}
SHOP = service("shop", PORT, env=FAULTS, health={"start_timeout": "5s"})
NOTICED_SECONDS = 2.0  # from the exit of a replica to the end of the wait for it
HOLD = """\
import socket, sys, time
held = []
for port in map(int, sys.argv[1:]):
    held.append(socket.create_server(("0.0.0.0", port)))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def managers(images: None) -> Iterator[Managers]:
    with fleet_managers(merged(SERVICES, {"shop": SHOP})) as made:
        made.upgrade("h1", "r1")
        commit = f"docker commit --change 'ENV REVISION=local' $(docker create {APP}:r2) {APP}:local"
        made.machines["h1"].run("sh", "-c", commit)
        yield made


@pytest.mark.parametrize(
    ("revision", "words"),
    [
        ("r9", ("exited with code 3", "the configuration is missing its moon phase")),
        ("r7", ("500", "the database is on holiday")),
        ("r8", ("thinking about listening",)),
        ("nosuch", ("nosuch",)),
        ("local", ("No such image",)),
    ],
    ids=["exit", "500", "never-listens", "no-image", "image-on-one-node"],
)
def test_a_broken_revision(managers: Managers, revision: str, words: tuple[str, ...]) -> None:
    with managers.loads(*NODES) as loads:
        failed = managers.upgrade("h1", revision, check=False)
        results = [load.stop() for load in loads]
    assert (failed.code, [word for word in words if word not in failed.stderr]) == (1, []), failed
    assert "shop is still running r1 with 2 replicas" in failed.stderr, failed
    assert [one.lost for one in results] == [0, 0, 0], results
    assert [set(one.revisions) for one in results] == [{"r1"}] * 3
    assert managers.left("r1") == []


def test_a_crash_loop_is_noticed_at_once(managers: Managers) -> None:
    """Swarm would start the replica again every five seconds."""
    with managers.watched("h1") as between:
        process = managers.spawn_watched("h1", "service", "upgrade", "--id", "shop", "--revision", "r9")
        _, err = process.communicate(timeout=120)
        writes = dict(between.writes)
    assert process.returncode == 1, err
    exits = [moment for node in NODES for moment in exit_times(managers, node, min(writes.values()))]
    seconds = min(moment for name, moment in writes.items() if name in {"stop", "remove"}) - min(exits)
    print({name: round(moment - min(exits), 2) for name, moment in writes.items()})
    print(f"noticed {seconds:.2f} s after the first exit; {len(exits)} exits")
    assert seconds <= NOTICED_SECONDS
    assert managers.left("r1") == []


def exit_times(managers: Managers, node: str, since: float) -> list[float]:
    """Return when containers of the revision exited on a node, in seconds since 1970."""
    words = ("docker", "events", "--since", f"{since:.3f}", "--until", "0s", "--format", "{{.TimeNano}}")
    filters = ("--filter", "event=die", "--filter", "label=conductor.revision=r9")
    return [int(one) / 1e9 for one in managers.machines[node].run(*words, *filters).stdout.split()]


def test_ports_that_another_program_has_taken(managers: Managers) -> None:
    ports = [str(port) for port in next_ports(managers, 4)]
    programs = [managers.machines[node].spawn("python3", "-c", HOLD, *ports) for node in NODES]
    try:
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "held\n"
        failed = managers.upgrade("h2", "r3", check=False)
    finally:
        for node in NODES:
            managers.machines[node].run("pkill", "-f", "create_server", check=False)
        for program in programs:
            program.communicate(timeout=30)
    assert (failed.code, "in use" in failed.stderr) == (1, True), failed
    assert managers.left("r1") == []
    managers.upgrade("h2", "r3")
    managers.upgrade("h2", "r1")


def next_ports(managers: Managers, count: int) -> list[int]:
    """Return the ports that the next replicas get."""
    book = json.loads(managers.objects()["addresses"]["addresses"])
    [last] = (int(address.removeprefix(":")) for address in book["cursor"].values())
    low, high = PORTS
    return [low + (last + one - low) % (high + 1 - low) for one in range(1, count + 1)]
