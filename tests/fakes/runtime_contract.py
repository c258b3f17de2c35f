"""The behaviours that every runtime shares, as one table: `FakeRuntime` in unit tests, Docker in an integration test.

A behaviour that the fake got wrong fails in one of the two, so the fake cannot drift from Docker.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest

from conductor.clock import Clock
from conductor.definitions.host import Network
from conductor.definitions.model import Definition, Service, Stop
from conductor.definitions.scalars import ByteSize, Secret
from conductor.errors import ConductorError
from conductor.plan.container_spec import ContainerSpec, container_spec
from conductor.plan.replica import Kind
from conductor.plan.tasks import Task, task_spec
from conductor.plan.transition import new_release
from conductor.runtime.port import Captured, ContainerEvent, Runtime
from tests.fakes.runtime import Behaviour

# Each container is one of these: the command for Docker, and what the fake does instead.
PROGRAMS: dict[str, tuple[tuple[str, ...], Behaviour]] = {
    "serves": (
        ("sh", "-c", "trap 'exit 143' TERM; echo ready; while :; do sleep 0.05; done"),
        Behaviour(stdout=("ready",)),
    ),
    "ignores-sigterm": (
        ("sh", "-c", "trap '' TERM; while :; do sleep 0.05; done"),
        Behaviour(ignores_sigterm=True),
    ),
    "exits": (("sh", "-c", "exit 3"), Behaviour(exits_after=0.0, exit_code=3)),
    "prints": (
        ("sh", "-c", "echo one; echo two; sleep 0.1; echo three >&2"),
        Behaviour(exits_after=0.0, stdout=("one", "two"), stderr=("three",)),
    ),
    "prints-and-fails": (
        ("sh", "-c", "echo one; exit 4"),
        Behaviour(exits_after=0.0, exit_code=4, stdout=("one",)),
    ),
    "prints-odd-lines": (
        ("sh", "-c", r"printf '1%%\r2%%\n'; head -c 40000 /dev/zero | tr '\0' x; echo; sleep 0.1; printf 'no newline'"),
        Behaviour(exits_after=0.0, stdout=("1%\r2%", "x" * 40000, "no newline")),
    ),
    "prints-and-serves": (
        ("sh", "-c", "trap 'exit 143' TERM; echo one; while :; do sleep 0.05; done"),
        Behaviour(stdout=("one",)),
    ),
    "missing": (("/nosuch",), Behaviour(start_error="no such file or directory", exit_code=127)),
    "unhealthy": (("sh", "-c", "while :; do sleep 0.05; done"), Behaviour(healthy=False, answer="not ready")),
    "check-hangs": (("sh", "-c", "while :; do sleep 0.05; done"), Behaviour(check_hangs=True)),
}

# Containers are named for the change, and several processes may run these tests at once.
CHANGE, OTHER_CHANGE, TASK_CHANGE = (f"{prefix}{os.getpid()}" for prefix in ("c", "o", "t"))
FLEET_PORTS = 21000  # outside the range for outgoing connections
ODD_LINES = list(PROGRAMS["prints-odd-lines"][1].stdout)


class Case(NamedTuple):
    """A runtime under test on a network without containers, with one local image."""

    runtime: Runtime
    clock: Clock
    instance: str
    network: Network
    image: str  # a reference
    tag: Callable[[str], None]  # gives the image another reference
    node: str = ""  # the address of the only node of a fleet
    ports: tuple[int, int] = (28731, 28733)  # first and last for published replicas

    def address(self, number: int) -> str:
        """Return an IP of the network."""
        return f"{self.network.subnet.rpartition('.')[0]}.{number}"

    def given(self, number: int, port: int | None = 80) -> str:
        """Return the address that Conductor gives a replica: an IP and its port; in a fleet, a port of whichever node runs it."""
        if self.node:
            return f":{FLEET_PORTS + number}" if port else ""
        return self.address(number) + (f":{port}" if port else "")

    def reached(self, number: int, port: int | None = 80) -> str:
        """Return where that replica is reached while it runs."""
        return self.node * bool(port) + self.given(number, port)

    @property
    def missing(self) -> tuple[str, ...]:
        """Ids, as those of replicas and tasks, of containers that do not exist."""
        return ("0" * 25, "0" * 64) if self.node else ("0" * 64,)

    def definition(self, service: str, **fields: Any) -> Definition:
        """Return a definition of a service that uses the image."""
        name = self.image.rpartition(":")[0]
        return Definition(id=service, service=Service(image=name, **fields), written={}, digest="d")

    def replica(
        self, program: str, number: int = 2, *, service: str = "web", port: int | None = 80, change: str = CHANGE,
        kind: Kind = "service", **fields: Any,
    ) -> ContainerSpec:  # fmt: skip
        """Return the specification of a container of a program. Its revision is the program's name."""
        if self.node:  # a removal there waits for the grace period
            fields = {"stop": Stop(grace=1), **fields}
        definition = self.definition(service, command=PROGRAMS[program][0], port=port, **fields)
        image = self.runtime.image(self.image)
        assert image is not None
        release = new_release(definition, program, image.id, "re1")
        publish = definition.service.publish
        address = f"127.0.0.1:{publish[0]}" if publish else self.given(number, port)
        return container_spec(
            definition, release, {"A": "1", "TOKEN": Secret("hunter2")}, instance=self.instance,
            network=self.network.name, kind=kind, change=change, name=str(number),
            address=address if kind == "service" else "",
        )  # fmt: skip

    def task(self, program: str, kind: Kind = "cron", job: str = "") -> ContainerSpec:
        """Return the specification of a task."""
        definition = self.definition("web")
        image = self.runtime.image(self.image)
        assert image is not None
        release = new_release(definition, program, image.id, "re1")
        task = Task(service="web", kind=kind, command=PROGRAMS[program][0], job=job)
        return task_spec(
            task, definition, release, {}, instance=self.instance, network=self.network.name, change=TASK_CHANGE
        )  # fmt: skip

    def started(self, program: str, number: int = 2, **fields: Any) -> str:
        """Create and start a replica; return its id."""
        container = self.runtime.create(self.replica(program, number, **fields))
        self.runtime.start(container)
        return container

    def await_ready(self, container: str) -> None:
        """Wait until a container of `serves` has set its trap. Before that, SIGTERM has no effect on the first process."""
        until = self.clock.monotonic() + 10
        while "ready" not in self.runtime.logs(container, 1):
            assert self.clock.monotonic() < until
            self.clock.sleep(0.05)

    def await_exit(self, container: str) -> None:
        """Wait until a container has exited."""
        until = self.clock.monotonic() + 10
        while (state := self.runtime.inspect(container)) is not None and state.running:
            assert self.clock.monotonic() < until
            self.clock.sleep(0.05)


BEHAVIOURS: list[Callable[[Case], None]] = []


def behaviour(test: Callable[[Case], None]) -> Callable[[Case], None]:
    """Add a behaviour to the table."""
    BEHAVIOURS.append(test)
    return test


@behaviour
def life_of_a_replica(case: Case) -> None:
    spec = case.replica("serves")
    container = case.runtime.create(spec)
    (replica,) = case.runtime.containers("web").replicas
    assert (replica.id, replica.name, replica.state, replica.running) == (container, spec.name, "created", False)
    assert abs(replica.created - case.clock.wall()) < 5
    case.runtime.start(container)
    assert case.runtime.containers().replicas[0].running
    state = case.runtime.inspect(container)
    assert state is not None
    assert (state.running, state.exit_code, state.out_of_memory) == (True, None, False)
    case.await_ready(container)
    assert case.runtime.stop(container, 5) is False
    state = case.runtime.inspect(container)
    assert state is not None
    assert (state.running, state.exit_code, state.address) == (False, 143, "")
    assert 0 <= case.clock.age(state.since) < 5
    assert case.runtime.containers().replicas[0].state == "exited"
    case.runtime.remove(container)
    assert case.runtime.containers() == ((), ())
    assert case.runtime.inspect(container) is None


@behaviour
def labels_come_back(case: Case) -> None:
    case.runtime.create(case.replica("serves", 2, service="web", change=CHANGE))
    case.runtime.create(case.replica("serves", 3, service="worker", change=OTHER_CHANGE, port=None))
    case.runtime.create(case.task("prints", kind="cron", job="nightly"))
    found = case.runtime.containers()
    assert [(r.service, r.revision, r.release, r.change, r.address, r.endpoint) for r in found.replicas] == [
        ("web", "serves", "re1", CHANGE, case.given(2), None if case.node else case.given(2)),
        ("worker", "serves", "re1", OTHER_CHANGE, case.given(3, None), None),
    ]
    assert [(t.service, t.revision, t.kind, t.change, t.job, t.state) for t in found.tasks] == [
        ("web", "prints", "cron", TASK_CHANGE, "nightly", "created")
    ]
    assert [r.service for r in case.runtime.containers("worker").replicas] == ["worker"]
    assert case.runtime.containers("none") == ((), ())


@behaviour
def lists_are_sorted_by_name(case: Case) -> None:
    for number in (4, 2, 3):
        case.runtime.create(case.replica("serves", number))
    names = [replica.name for replica in case.runtime.containers().replicas]
    assert names == sorted(names)
    assert len(names) == 3


@behaviour
def address_of_a_replica(case: Case) -> None:
    for number, port in ((2, 80), (3, None)):
        container = case.runtime.create(case.replica("serves", number, port=port))
        state = case.runtime.inspect(container)
        assert state is not None
        assert state.address == ""
        case.runtime.start(container)
        state = case.runtime.inspect(container)
        assert state is not None
        assert state.address == case.reached(number, port)
        [replica] = [one for one in case.runtime.containers().replicas if one.id == container]
        assert (replica.address, replica.endpoint) == (state.address, state.address if port else None)


@behaviour
def address_of_a_published_replica(case: Case) -> None:
    container = case.started("serves", publish=case.ports)
    state = case.runtime.inspect(container)
    assert state is not None
    assert state.address == f"127.0.0.1:{case.ports[0]}"
    assert case.runtime.containers().replicas[0].endpoint == state.address
    other = case.runtime.create(case.replica("serves", 3, publish=case.ports))
    with pytest.raises(ConductorError):
        case.runtime.start(other)
    assert case.runtime.containers().replicas[1].state == "created"


@behaviour
def address_of_a_task(case: Case) -> None:
    container = case.runtime.create(case.task("serves"))
    case.runtime.start(container)
    state = case.runtime.inspect(container)
    assert state is not None
    first, _, last = state.address.rpartition(".")
    assert first == case.network.tasks.rpartition(".")[0]
    assert int(last) >= int(case.network.tasks.rpartition(".")[2].partition("/")[0])
    assert not case.runtime.containers().tasks[0].job


@behaviour
def used_addresses(case: Case) -> None:
    case.started("serves", 2)
    case.runtime.create(case.replica("serves", 3, port=None))
    task = case.runtime.create(case.task("serves"))
    case.runtime.start(task)
    state = case.runtime.inspect(task)
    assert state is not None
    used = case.runtime.used_addresses(case.network)
    assert used >= {case.given(2), case.given(3, None), state.address} - {""}
    assert case.node or case.address(2) in used
    assert used.isdisjoint({case.address(4), case.given(4)})
    with pytest.raises(ConductorError):
        case.runtime.used_addresses(Network(name=f"{case.network.name}-none"))


@behaviour
def an_address_in_use(case: Case) -> None:
    case.started("serves", 2)
    second = case.runtime.create(case.replica("serves", 2, change=OTHER_CHANGE))
    with pytest.raises(ConductorError):
        case.runtime.start(second)
    state = case.runtime.inspect(second)
    assert state is not None
    assert not state.running
    case.runtime.remove(second)


@behaviour
def missing_containers(case: Case) -> None:
    for missing in case.missing:
        assert case.runtime.inspect(missing) is None
        assert case.runtime.environment(missing) == {}
        assert case.runtime.logs(missing, 10) == ()
        assert case.runtime.logs_since(missing, "") == ()
        assert list(case.runtime.read_log(missing, follow=True)) == []
        assert case.runtime.stop(missing, 1) is False
        case.runtime.signal(missing, "SIGTERM")
        case.runtime.remove(missing)
        result = case.runtime.execute(missing, ("true",), 1)
        assert (result.ok, result.unknown) == (False, True)
        with pytest.raises(ConductorError):
            case.runtime.start(missing)


@behaviour
def creating_twice(case: Case) -> None:
    """A repeated creation returns the same container; the same name of another change is an error."""
    spec = case.replica("serves")
    assert case.runtime.create(spec) == case.runtime.create(spec)
    other = case.replica("serves", change=OTHER_CHANGE)
    with pytest.raises(ConductorError):
        case.runtime.create(msgspec.structs.replace(other, name=spec.name))
    assert len(case.runtime.containers().replicas) == 1


@behaviour
def creating_from_a_missing_image(case: Case) -> None:
    missing = msgspec.structs.replace(case.replica("serves"), image_id=f"sha256:{'0' * 64}")
    with pytest.raises(ConductorError):
        case.runtime.create(missing)


@behaviour
def removing_a_running_container(case: Case) -> None:
    container = case.started("serves")
    case.runtime.remove(container)
    assert case.runtime.inspect(container) is None


@behaviour
def starting_twice(case: Case) -> None:
    container = case.started("serves")
    case.runtime.start(container)
    assert case.runtime.containers().replicas[0].running


@behaviour
def starting_again_after_an_exit(case: Case) -> None:
    container = case.started("serves")
    case.runtime.stop(container, 5)
    case.runtime.start(container)
    state = case.runtime.inspect(container)
    assert state is not None
    assert (state.running, state.exit_code, state.address) == (True, None, case.reached(2))


@behaviour
def a_command_that_does_not_exist(case: Case) -> None:
    container = case.runtime.create(case.replica("missing"))
    with pytest.raises(ConductorError, match="no such file or directory"):
        case.runtime.start(container)
    assert case.runtime.containers().replicas[0].state == "created"
    state = case.runtime.inspect(container)
    assert state is not None
    assert (state.running, state.exit_code) == (False, 127)
    assert state.error


@behaviour
def usage_of_a_running_container(case: Case) -> None:
    container = case.started("serves", memory=ByteSize(64 * 2**20))
    usage = case.runtime.usage(container)
    assert usage is not None
    assert (usage.memory > 0, usage.memory_limit) == (True, 64 * 2**20)
    assert usage.started is not None
    assert abs(case.clock.wall() - usage.started) < 60
    case.runtime.stop(container, 5)
    assert case.runtime.usage(container) is None


@behaviour
def a_container_that_exits(case: Case) -> None:
    container = case.started("exits")
    case.await_exit(container)
    state = case.runtime.inspect(container)
    assert state is not None
    assert (state.running, state.exit_code, state.address) == (False, 3, "")
    assert str(state) == "exited with code 3"
    assert case.runtime.containers().replicas[0].state == ("restarting" if case.node else "exited")
    assert case.runtime.stop(container, 1) is False


@behaviour
def stopping_what_ignores_sigterm(case: Case) -> None:
    container = case.started("ignores-sigterm", stop=Stop(grace=1))
    began = case.clock.monotonic()
    assert case.runtime.stop(container, 1) is True
    assert 0.9 <= case.clock.monotonic() - began < 10  # the daemon's own default
    state = case.runtime.inspect(container)
    assert state is not None
    assert state.exit_code == 137


@behaviour
def signals(case: Case) -> None:
    container, stubborn = case.started("serves", 2), case.started("ignores-sigterm", 3)
    case.await_ready(container)  # the other one ignores SIGTERM without its trap, too
    for _ in range(2):
        case.runtime.signal(container, "SIGTERM")
        case.runtime.signal(stubborn, "SIGTERM")
        case.await_exit(container)
    state = case.runtime.inspect(container)
    assert state is not None
    assert state.exit_code == 143
    state = case.runtime.inspect(stubborn)
    assert state is not None
    assert state.running
    case.runtime.remove(container)
    case.runtime.signal(container, "SIGTERM")


@behaviour
def additional_networks_that_do_not_exist(case: Case) -> None:
    missing = f"{case.instance}-missing"
    with pytest.raises(ConductorError, match=missing):
        case.runtime.check_networks([missing])
    with pytest.raises(ConductorError, match=missing):  # Docker 20.10 notices it at the start only
        case.runtime.start(case.runtime.create(case.replica("serves", networks=(missing,))))


@behaviour
def stopping_what_was_never_started(case: Case) -> None:
    container = case.runtime.create(case.replica("serves"))
    assert case.runtime.stop(container, 1) is False
    assert case.runtime.containers().replicas[0].state == "created"


@behaviour
def environment(case: Case) -> None:
    found = case.runtime.environment(case.runtime.create(case.replica("serves")))
    assert (found["A"], found["TOKEN"]) == ("1", "hunter2")


@behaviour
def logs(case: Case) -> None:
    container = case.started("prints")
    case.await_exit(container)
    assert case.runtime.logs(container, 10) == ("one", "two", "three")
    assert case.runtime.logs(container, 2) == ("two", "three")
    stamped = case.runtime.logs_since(container, "")
    assert [text for _, text in stamped] == ["one", "two", "three"]
    assert case.runtime.logs_since(container, stamped[1][0]) == stamped[2:]
    assert case.runtime.logs_since(container, stamped[2][0]) == ()


@behaviour
def a_log_with_streams_and_times(case: Case) -> None:
    container = case.started("prints")
    case.await_exit(container)
    lines = list(case.runtime.read_log(container))
    assert [(one.stream, one.text) for one in lines] == [("stdout", "one"), ("stdout", "two"), ("stderr", "three")]
    times = [one.time for one in lines]
    assert times == sorted(times)
    assert {len(time) for time in times} == {len("2026-11-29T00:00:00.123456789Z")}
    assert list(case.runtime.read_log(container, since=times[1], follow=True)) == lines[1:]
    assert list(case.runtime.read_log(container, tail=1)) == lines[2:]


@behaviour
def a_log_with_long_lines_and_carriage_returns(case: Case) -> None:
    container = case.started("prints-odd-lines")
    case.await_exit(container)
    assert [one.text for one in case.runtime.read_log(container)] == ODD_LINES
    assert [text for _, text in case.runtime.logs_since(container, "")] == ODD_LINES
    assert list(case.runtime.logs(container, 10)) == ODD_LINES


@behaviour
def a_followed_log(case: Case) -> None:
    """It ends when the container exits, also when the container is removed at once."""
    container = case.started("prints-and-serves")
    followed = case.runtime.read_log(container, follow=True)
    assert next(followed).text == "one"
    case.runtime.stop(container, 5)
    case.runtime.remove(container)
    assert list(followed) == []


@behaviour
def checks_inside(case: Case) -> None:
    healthy, unhealthy, hangs = case.started("serves", 2), case.started("unhealthy", 3), case.started("check-hangs", 4)
    result = case.runtime.execute(healthy, ("true",), 5)
    assert (result.ok, result.error, result.unknown) == (True, "", False)
    result = case.runtime.execute(unhealthy, ("sh", "-c", "echo not ready; exit 1"), 5)
    assert (result.ok, result.status, result.output, result.unknown) == (False, None, "not ready", False)
    assert result.error == "sh exited with code 1"
    result = case.runtime.execute(hangs, ("sleep", "5"), 0.3)
    assert (result.ok, result.error, result.unknown) == (False, "sleep did not finish within 0.3s", False)
    case.runtime.stop(healthy, 5)
    result = case.runtime.execute(healthy, ("true",), 5)
    assert (result.ok, result.unknown) == (False, True)


@behaviour
def capture(case: Case) -> None:
    captured = {}
    for number, program in enumerate(("prints", "prints-and-fails", "missing", "serves")):
        container = case.runtime.create(case.task(program, job=str(number)))
        captured[program] = case.runtime.capture(container, 2.0 if program == "serves" else 20.0, 65536)
    assert captured["prints"] == Captured(stdout=b"one\ntwo\n", stderr=b"three\n", failure="")
    assert (captured["prints-and-fails"].stdout, captured["prints-and-fails"].failure) == (
        b"one\n",
        "exited with code 4",
    )
    assert captured["missing"].failure.startswith("did not start: ")
    assert captured["serves"].failure == "did not finish within 2s"
    states = {replica.revision: replica.state for replica in case.runtime.containers().tasks}
    assert states == {"prints": "exited", "prints-and-fails": "exited", "missing": "created", "serves": "running"}


@behaviour
def capture_of_too_much(case: Case) -> None:
    container = case.runtime.create(case.task("prints"))
    assert case.runtime.capture(container, 5.0, 5).failure == "printed more than 0 KiB"


@behaviour
def networks(case: Case) -> None:
    case.runtime.ensure_network(case.network)
    with pytest.raises(ConductorError):
        case.runtime.ensure_network(msgspec.structs.replace(case.network, tasks=f"{case.address(128)}/26"))


@behaviour
def images(case: Case) -> None:
    found = case.runtime.image(case.image)
    assert found is not None
    assert case.runtime.image(found.id) == found
    assert case.runtime.image(f"{case.image}-none") is None
    statuses: list[str] = []
    with pytest.raises(ConductorError):
        case.runtime.pull(f"127.0.0.1:1/none:{case.instance}", statuses.append)


@behaviour
def the_daemon(case: Case) -> None:
    daemon = case.runtime.daemon()
    assert daemon.supported
    assert daemon.version[0].isdigit()
    assert daemon.data_dir.startswith("/")
    assert abs(case.clock.age(daemon.time)) < 5
    case.runtime.check_credentials(case.image)


def a_reference_is_removed_and_the_image_stays_while_it_has_another(case: Case) -> None:
    found = case.runtime.image(case.image)
    assert found is not None
    other = f"{case.instance}-other:r1"
    case.tag(other)
    [image] = [one for one in case.runtime.local_images() if one.id == found.id]
    assert {case.image, other} <= set(image.references)
    assert image.bytes > 2**20
    case.runtime.remove_image(other, f"sha256:{'0' * 64}")  # a reference that now belongs to another image
    assert case.runtime.image(other) == found
    case.runtime.remove_image(other, found.id)
    assert case.runtime.image(other) is None
    case.runtime.remove_image(other, found.id)
    assert case.runtime.image(case.image) == found


@behaviour
def an_image_is_in_use_while_a_container_in_any_state_has_it(case: Case) -> None:
    found = case.runtime.image(case.image)
    case.runtime.create(case.replica("serves"))
    assert found is not None
    assert [one.in_use for one in case.runtime.local_images() if one.id == found.id] == [True]


@behaviour
def ports_for_outgoing_connections(case: Case) -> None:
    case.runtime.check_ports(20000, 20010)
    with pytest.raises(ConductorError):
        case.runtime.check_ports(40000, 40010)


@behaviour
def events(case: Case) -> None:
    """Events of replicas only: start, exit and removal."""
    received: list[ContainerEvent] = []
    earlier: list[str] = []  # containers whose events show that the runtime has begun to send
    sending, done = threading.Event(), threading.Event()

    def listen() -> None:
        with contextlib.suppress(ConductorError):
            for event in case.runtime.events():
                if event.container in earlier:
                    sending.set()
                    continue
                received.append(event)
                if not event.exited and event.fewer:
                    done.set()
                    return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    until = time.monotonic() + 20
    while not sending.wait(0.1):
        assert time.monotonic() < until
        earlier.append(case.runtime.create(case.replica("exits", 3)))
        case.runtime.start(earlier[-1])
        case.runtime.remove(earlier[-1])
    case.runtime.start(case.runtime.create(case.task("exits")))
    container = case.started("serves")
    case.await_ready(container)
    case.runtime.stop(container, 5)
    case.runtime.remove(container)
    assert done.wait(10)
    assert received == [
        ContainerEvent("web", container, fewer=False),
        ContainerEvent("web", container, fewer=True, exited=True, exit_code=None if case.node else 143),
        ContainerEvent("web", container, fewer=True),
    ]
