"""Responses that no Swarm sends, as in the test of Docker's: each field is removed, or gets another type."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conductor.clock import Clock
from conductor.runtime.docker.api import EngineApi
from conductor.runtime.swarm.api import SwarmApi
from conductor.runtime.swarm.client import SwarmRuntime
from conductor.runtime.swarm.fleet import Fleet
from conductor.runtime.swarm.objects import SwarmObjects
from conductor.state.fleet.objects import RecentObjects, StoredObject
from tests.fakes.fleet import leases
from tests.fakes.objects import FakeObjects
from tests.fakes.runtime import FakeCancellation, FakeClock
from tests.support.damaged import BODIES, damaged
from tests.unit.runtime.docker.test_malformed import LABELS, Daemon, every, unclean
from tests.unit.runtime.docker.test_malformed import daemon as daemon  # noqa: PLC0414 (a fixture)

ID, STAMP = "s" * 25, "2026-11-30T22:55:09.845852261Z"
SERVICE = {
    "ID": ID, "Version": {"Index": 7}, "CreatedAt": STAMP,
    "Spec": {
        "Name": "web-r7-1", "Labels": {**LABELS, "conductor.address": ":21000", "conductor.ended": "{}"},
        "Mode": {"Replicated": {"Replicas": 0}},
        "TaskTemplate": {"ContainerSpec": {"StopGracePeriod": 10_000_000_000, "Env": ["REVISION=r7"]}},
    },
}  # fmt: skip
CONFIG = {
    "ID": "o1", "Version": {"Index": 9}, "CreatedAt": STAMP,
    "Spec": {"Name": "x", "Labels": {"conductor.object": "service/web", "conductor.write": "w", "conductor.value.a": "1"}},
}  # fmt: skip
RESPONSES: dict[str, Any] = {
    "GET /services": [SERVICE],
    f"GET /services/{ID}": SERVICE,
    "GET /tasks": [
        {
            "ID": "t1", "ServiceID": ID, "CreatedAt": STAMP, "UpdatedAt": STAMP, "NodeID": "n1", "DesiredState": "shutdown",
            "Status": {
                "State": "failed", "Timestamp": STAMP, "Err": "task: non-zero exit (3)",
                "ContainerStatus": {"ContainerID": "c1", "ExitCode": 3, "PID": 0},
            },
        }
    ],
    "GET /nodes": [
        {
            "ID": "n1", "Description": {"Hostname": "h1"}, "Status": {"State": "ready", "Addr": "10.9.0.1"},
            "Spec": {"Role": "manager", "Availability": "active", "Labels": {"conductor.edge": "true"}},
            "ManagerStatus": {"Addr": "10.9.0.1:2377", "Leader": True, "Reachability": "reachable"},
        }
    ],
    "GET /configs": [CONFIG],
    "GET /info": {"Swarm": {"NodeID": "n1"}},
}  # fmt: skip
Parts = tuple[SwarmRuntime, SwarmObjects, Fleet]
# For each response, what Conductor does with it.
REPLICAS: tuple[Callable[[Parts], Any], ...] = (
    lambda r: r[0].containers("web"),
    lambda r: r[0].inspect(ID),
    lambda r: r[0].listeners(ID),
    lambda r: list(r[0].read_log(ID)),
)
CALLS: dict[str, tuple[Callable[[Parts], Any], ...]] = {
    "GET /services": REPLICAS,
    f"GET /services/{ID}": (*REPLICAS, lambda r: r[0].environment(ID), lambda r: r[0].stop(ID, 1)),
    "GET /tasks": (*REPLICAS, lambda r: r[2].members()),
    "GET /nodes": (
        *REPLICAS,
        lambda r: r[2].edges(),
        lambda r: r[2].own_name(),
        lambda r: r[2].members(),
        lambda r: r[2].swarm.usable_nodes(),
    ),
    "GET /configs": (lambda r: r[1].read_all(),),
    "GET /info": (lambda r: r[2].swarm.node_id(),),
}


@pytest.fixture
def parts(daemon: Daemon, tmp_path: Path) -> Parts:
    daemon.responses = {**daemon.responses, **RESPONSES}
    base, clock = f"unix://{tmp_path}/docker.sock", FakeClock()
    swarm = SwarmApi(EngineApi(base), clock)
    objects = SwarmObjects(swarm, "test")
    runtime = SwarmRuntime(base, "test", Clock(), FakeCancellation())
    return runtime, objects, Fleet(swarm, objects, RecentObjects(objects, clock), leases(FakeObjects(), clock, "h1"))


def all_unclean(daemon: Daemon, parts: Parts, request: str, damages: Iterator[tuple[str, Any]]) -> list[str]:
    found = []
    for what, response in damages:
        daemon.damage = {request: response}
        found += [f"{what}: {wrong}" for call in CALLS[request] if (wrong := unclean(call, parts))]
    return found


def test_recorded_responses_are_accepted(daemon: Daemon, parts: Parts) -> None:
    for calls in CALLS.values():
        for call in calls:
            call(parts)
    assert parts[1].read_all() == (StoredObject("service/web", "o1", 9, {"a": "1"}),)


@pytest.mark.parametrize("request_", CALLS)
@every
def test_each_field(daemon: Daemon, parts: Parts, request_: str, every: bool) -> None:
    assert all_unclean(daemon, parts, request_, damaged(RESPONSES[request_], every=every)) == []


@pytest.mark.parametrize("request_", CALLS)
def test_other_bodies(daemon: Daemon, parts: Parts, request_: str) -> None:
    assert all_unclean(daemon, parts, request_, iter(BODIES.items())) == []
