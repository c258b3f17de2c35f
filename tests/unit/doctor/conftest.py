"""A healthy host in memory, and everything that a row of a table may break."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from conductor.definitions.host import Host
from conductor.definitions.load import load
from conductor.doctor.examination import Examination, Room
from conductor.doctor.examine import examine
from conductor.doctor.finding import Report, Severity
from conductor.errors import ConductorError
from conductor.plan.container_spec import container_spec
from conductor.plan.node import Node
from conductor.plan.release import Wanted
from conductor.plan.tasks import Task, task_spec
from conductor.state.locks import Locks
from conductor.state.supervisor_status import SUPERVISE_LOCK
from conductor.systemctl import Unit
from tests.fakes.world import WEB, WORKER, World

GIB = 2**30
SERVICES = {"web": WEB, "worker": WORKER}


class HostUnderTest:
    """`web` r1 serves behind nginx and `worker` r1 runs; `supervise` runs as a unit of systemd."""

    def __init__(self, directory: Path, services: dict[str, dict[str, Any]] = SERVICES) -> None:
        self.world = World(directory, services)
        self.world.runtime.add_image("shop:r1", size=GIB)
        self.world.upgrade("r1")
        self.world.health.failure_seconds = 0.0  # the clock stands still during the checks
        (directory / "services.yml").chmod(0o640)
        self.host: Host = self.world.definitions.host
        self.free: dict[str, int] = {}  # bytes, by path
        self.unseen: set[str] = set()  # paths
        self.is_root = self.is_cron_running = True
        self.unit: Unit | None = Unit(installed=True, enabled=True, active=True)
        self.unusable: ConductorError | None = None
        self.nodes: list[Node] = []
        self.list_nodes: Callable[[], Sequence[Node]] = lambda: tuple(self.nodes)
        self.supervising = contextlib.ExitStack()
        locks = Locks(directory / "run" / "locks", "supervise", self.world.clock, self.world.cancellation)
        self.supervising.enter_context(locks.hold(SUPERVISE_LOCK))

    def examination(self) -> Examination:
        return Examination(
            definitions=self.world.definitions,
            context=self.world.context(self.host),
            unit=lambda _name: self.unit,
            is_root=self.is_root,
            is_cron_running=lambda: self.is_cron_running,
            room=lambda path: None if path in self.unseen else Room(100 * GIB, 0, self.free.get(path, 50 * GIB)),
            unusable=self.unusable,
            nodes=self.list_nodes,
        )

    def report(self) -> Report:
        return examine(self.examination())

    # What a row may change.

    def define(self, services: dict[str, dict[str, Any]]) -> None:
        self.world.define(services)

    def reload(self) -> None:
        """Read the definitions file again, and keep what is wrong with it."""
        try:
            self.world.definitions = load(self.world.directory / "services.yml")
        except ConductorError as error:
            self.unusable = error

    def set_host(self, **fields: Any) -> None:
        self.host = msgspec.structs.replace(self.host, **fields)

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        path = self.world.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def change_wanted(self, service: str = "web", **fields: Any) -> None:
        store = self.world.store
        store.write_wanted(msgspec.structs.replace(store.wanted(service), **fields))

    def wanted(self, service: str = "web") -> Wanted:
        return self.world.store.wanted(service)

    def add_replica(self, *, release: str, address: str) -> str:
        """Start a container of `web` r1 that belongs to a release of this id; return the container's id."""
        world = self.world
        live = msgspec.structs.replace(self.wanted().live, id=release)
        spec = container_spec(
            world.definitions.services["web"], live, {}, kind="service", name=f"more-{address}", change="x1",
            address=address, instance="default", network=self.host.network.name,
        )  # fmt: skip
        container = world.runtime.create(spec)
        world.runtime.start(container)
        return container

    def leave_task(self, seconds: float = 3600.0) -> None:
        """Leave the container of a task that ended so long ago, and whose `conductor run` was killed."""
        world = self.world
        task = Task(service="web", kind="task", command=("true",))
        spec = task_spec(
            task, world.definitions.services["web"], self.wanted().live, {}, instance="default",
            network=self.host.network.name, change="t1",
        )  # fmt: skip
        world.runtime.start(world.runtime.create(spec))
        world.clock.advance(seconds)


class Row(NamedTuple):
    """A change of the healthy host, and the one finding of this check that it causes."""

    check: str
    severity: Severity
    arrange: Callable[[HostUnderTest], object]
    service: str | None = None


def causes_its_finding(host: HostUnderTest, row: Row) -> None:
    """Assert that the finding is absent before the change and present after it."""
    assert row.check not in {one.check for one in host.report().findings}
    row.arrange(host)
    report = host.report()
    found = [one for one in report.findings if one.check == row.check]
    assert [(one.severity, one.service) for one in found] == [(row.severity, row.service)], report.describe()
    assert all(one.what and one.why and one.fix for one in found)
    assert "check-failed" not in {one.check for one in report.findings}, report.describe()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[HostUnderTest]:
    made = HostUnderTest(tmp_path)
    with made.supervising:
        yield made
