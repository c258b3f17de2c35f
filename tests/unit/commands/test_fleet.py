"""On a manager of a fleet, the parts of a context are those that all managers share."""

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from conductor.cancellation import SignalCancellation
from conductor.commands.context import make_context, make_query_context
from conductor.commands.fleet import make_edge
from conductor.definitions.host import Host, HostFleet
from conductor.definitions.load import load
from conductor.output.printers import NoOutput
from conductor.runtime.docker.client import DockerRuntime
from conductor.runtime.port import RuntimeUnavailable
from conductor.runtime.swarm.client import SwarmRuntime
from conductor.state.fleet.edges import Edges
from conductor.state.fleet.locks import FleetLocks, is_of_job
from conductor.state.fleet.store import FleetStore
from conductor.state.store import Store
from conductor.supervise.edge_loop import EdgeLoop, EdgeParts
from conductor.supervise.log import SupervisorLog
from conductor.tasks.context import make_task_context
from conductor.traffic.fleet.traffic import FleetTraffic
from conductor.traffic.reload.reload import ReloadTraffic
from tests.fakes.fleet import leases
from tests.fakes.objects import FakeObjects
from tests.fakes.runtime import FakeCancellation
from tests.fakes.traffic import FakeTraffic


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(
        docker=f"unix://{tmp_path}/docker.sock", state_dir=str(tmp_path / "state"), runtime_dir=str(tmp_path / "run"),
        fleet=HostFleet(ports=(21000, 21999)),
    )  # fmt: skip


def test_a_fleet(host: Host, tmp_path: Path) -> None:
    for context in (
        make_context(host, tmp_path, "upgrade", NoOutput(), SignalCancellation()),
        make_query_context(host, tmp_path, "status"),
    ):
        kinds = [type(one) for one in (context.runtime, context.traffic, context.store, context.locks)]
        assert kinds == [SwarmRuntime, FleetTraffic, FleetStore, FleetLocks]
        assert context.store.directory == tmp_path / "state"
    again = make_context(host, tmp_path, "x", NoOutput(), SignalCancellation(), runtime=context.runtime)
    assert again.runtime is context.runtime
    edge = make_edge(context)
    assert (type(edge.edges), type(edge.traffic)) == (Edges, ReloadTraffic)
    with pytest.raises(RuntimeUnavailable):
        edge.name()


def test_a_single_host(host: Host, tmp_path: Path) -> None:
    alone = msgspec.structs.replace(host, fleet=None)
    context = make_context(alone, tmp_path, "upgrade", NoOutput(), SignalCancellation())
    assert [type(one) for one in (context.runtime, context.traffic, context.store)] == [
        DockerRuntime,
        ReloadTraffic,
        Store,
    ]


def test_a_task_has_the_state_of_the_fleet_and_shares_the_locks_of_jobs(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "services.yml"
    path.write_text(
        f"version: 1\nhost: {{docker: {host.docker}, state_dir: {host.state_dir}, runtime_dir: {host.runtime_dir}, fleet: {{ports: [21000, 21999]}}}}\nservices: {{}}\n"
    )
    context = make_task_context(path, "run")
    assert type(context.store) is FleetStore
    assert type(context.locks) is FleetLocks
    shared = [
        name for name in ("web.key", "web.key.next", "web.key.result", "addresses", "images.use") if is_of_job(name)
    ]
    assert shared == ["web.key", "web.key.next"]
    with context.locks.hold("addresses"):
        assert (tmp_path / "run" / "locks" / "addresses.lock").exists()
    with pytest.raises(RuntimeUnavailable):
        context.claim("web", "key", 1)


def test_every_action_that_moves_traffic_can_continue_without_edges() -> None:
    from conductor.commands.service.stop import command

    made = command.make_context("stop", ["--id", "web", "--without-edge", "h2", "--without-edge", "h3"])
    assert made.params["without_edges"] == ("h2", "h3")


@pytest.fixture
def ended() -> Iterator[threading.Event]:
    made = threading.Event()
    yield made
    made.set()


def test_the_threads_of_an_edge_survive_a_fleet_without_a_leader(
    host: Host, tmp_path: Path, ended: threading.Event
) -> None:
    context = make_context(host, tmp_path, "supervise", NoOutput(), SignalCancellation())
    asked, answered = [], threading.Event()

    def name() -> str:
        asked.append(1)
        if len(asked) < 2:
            raise RuntimeUnavailable("cannot list nodes: the swarm does not have a leader")
        answered.set()
        return "h1"

    objects = FakeObjects()
    own = leases(objects, context.clock, "h1")
    edges = Edges(objects, own, context.clock, FakeCancellation())
    lines: list[str] = []
    parts = EdgeParts(
        name,
        edges,
        FakeTraffic(),
        own,
        FleetStore(tmp_path, objects, own),
        expire=lambda: None,
        views=lambda: (edges.views(), ()),
        follow_history=lambda: None,
        writes=lambda: iter(()),
    )
    (tmp_path / "services.yml").write_text("version: 1\nservices: {}\n")
    definitions = load(tmp_path / "services.yml")
    loop = EdgeLoop(parts, context, SupervisorLog(lines.append), ended, lambda: definitions)
    loop.begin()
    assert answered.wait(20)
    assert "does not have a leader" in lines[0]
