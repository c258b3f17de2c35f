"""The replica that a service of Swarm's is, from its tasks and nodes."""

from typing import Any

import msgspec
import pytest

from conductor.plan.replica import ContainerState
from conductor.runtime.swarm import responses

LABELS = {
    "conductor.instance": "default",
    "conductor.service": "web",
    "conductor.revision": "r1",
    "conductor.release": "re1",
    "conductor.change": "c1",
    "conductor.address": ":21000",
    "conductor.image": "sha256:1",
}
STARTED = {"conductor.started": "1"}
EXITED = ContainerState(running=False, exit_code=143, out_of_memory=False, address="", since="2026-01-01T00:00:09Z")
ENDED = {"conductor.ended": msgspec.json.encode(EXITED).decode()}
NO_NODE = "no suitable node (host-mode port already in use on 1 node)"


def node(name: str, state: str = "ready", **more: Any) -> dict[str, Any]:
    return {
        "ID": name,
        "Description": {"Hostname": name},
        "Status": {"State": state, "Addr": f"10.0.0.{name[1:]}"},
        **more,
    }


NODES = {
    "h1": node("h1", ManagerStatus={"Addr": "10.9.0.1:2377"}),
    "h2": node("h2"),
    "h3": node("h3", "down"),
}


def task(number: int, state: str, where: str = "h2", error: str = "", code: int | None = None) -> dict[str, Any]:
    status: dict[str, Any] = {"State": state, "Timestamp": f"2026-01-01T00:00:0{number}Z", "Err": error}
    if code is not None:
        status["ContainerStatus"] = {"ContainerID": f"c{number}", "ExitCode": code}
    return {
        "ID": f"t{number}",
        "ServiceID": "s1",
        "CreatedAt": f"2026-01-01T00:00:0{number}Z",
        "NodeID": where,
        "Status": status,
    }


def service(*tasks: dict[str, Any], replicas: int = 1, **labels: str) -> responses.Service:
    spec = {"Name": "web-r1-c1-1", "Labels": {**LABELS, **labels}, "Mode": {"Replicated": {"Replicas": replicas}}}
    found = {"ID": "s1", "CreatedAt": "2026-01-01T00:00:00.123456789Z", "Spec": spec}
    [made] = responses.services([found], reversed(tasks), NODES)
    return made


def exited(code: int | None, since: int = 1, error: str = "") -> ContainerState:
    stamp = f"2026-01-01T00:00:0{since}Z"
    return ContainerState(running=False, exit_code=code, out_of_memory=False, address="", error=error, since=stamp)


def waits(error: str) -> ContainerState:
    return ContainerState(running=False, exit_code=None, out_of_memory=False, address="", error=error)


def runs(address: str) -> ContainerState:
    return ContainerState(running=True, exit_code=None, out_of_memory=False, address=address)


CASES: dict[str, tuple[responses.Service, str, str, ContainerState]] = {
    "created": (service(replicas=0), "created", ":21000", waits("")),
    "no node yet": (service(task(1, "pending", "", NO_NODE), **STARTED), "restarting", ":21000", waits(NO_NODE)),
    "running": (service(task(1, "running"), **STARTED), "running", "10.0.0.2:21000", runs("10.0.0.2:21000")),
    "running on a manager": (
        service(task(1, "running", "h1"), **STARTED), "running", "10.9.0.1:21000", runs("10.9.0.1:21000"),
    ),
    "about to be restarted": (
        service(task(1, "failed", error="task: non-zero exit (3)", code=3), task(2, "ready"), **STARTED),
        "restarting", ":21000", exited(3),
    ),
    "ended without an error": (service(task(1, "complete", code=0), task(2, "ready"), **STARTED), "restarting", ":21000", exited(0)),
    "restarted": (
        service(task(1, "failed", error="task: non-zero exit (3)", code=3), task(2, "running"), **STARTED),
        "running", "10.0.0.2:21000", runs("10.0.0.2:21000"),
    ),
    "its node is down": (service(task(1, "running", "h3"), **STARTED), "node-down", ":21000", waits("node h3 is down")),
    "replaced on another node": (
        service(task(1, "running", "h3"), task(2, "running"), **STARTED), "running", "10.0.0.2:21000", runs("10.0.0.2:21000"),
    ),
    "stopping": (service(task(1, "running"), replicas=0, **STARTED), "running", "10.0.0.2:21000", runs("10.0.0.2:21000")),
    "stopped, its exit is not recorded": (
        service(task(1, "shutdown", error="task: non-zero exit (143)", code=143), replicas=0, **STARTED),
        "exited", ":21000", exited(143),
    ),
    "stopped": (service(replicas=0, **STARTED, **ENDED), "exited", ":21000", EXITED),
    "stopped by a process that was killed": (service(replicas=0, **STARTED), "exited", ":21000", waits("")),
    "not startable": (service(replicas=0, **ENDED), "created", ":21000", EXITED),
}  # fmt: skip


@pytest.mark.parametrize(("found", "word", "address", "state"), CASES.values(), ids=CASES)
def test_a_replica(found: responses.Service, word: str, address: str, state: ContainerState) -> None:
    replica = responses.replica(found)
    assert (replica.state, replica.address) == (word, address)
    assert replica.endpoint == (address if word == "running" else None)
    assert responses.state(found) == state


def test_what_labels_and_the_node_say() -> None:
    replica = responses.replica(service(task(1, "running"), **STARTED))
    assert (replica.id, replica.name, replica.node) == ("s1", "web-r1-c1-1", "h2")
    assert (replica.service, replica.revision, replica.release, replica.change) == ("web", "r1", "re1", "c1")
    assert (replica.created, replica.image_id) == (1767225600.0, "sha256:1")


def test_a_worker_has_no_address() -> None:
    found = service(task(1, "running"), **{**STARTED, "conductor.address": ""})
    assert responses.replica(found).address == ""
    assert responses.state(found) == runs("")


@pytest.mark.parametrize(
    ("state", "error", "failed"),
    [
        ("rejected", "invalid mount config", True),
        ("failed", "starting container failed: no such file or directory", True),
        ("failed", "task: non-zero exit (1)", False),
        ("complete", "", False),
        ("ready", NO_NODE, False),
        ("running", "", False),
    ],
)
def test_whether_a_task_could_not_be_started(state: str, error: str, failed: bool) -> None:
    assert responses.failed_to_start(task(1, state, error=error)) is failed
