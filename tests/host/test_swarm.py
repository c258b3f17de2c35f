"""On a swarm of one whole host, the runtime and the shared objects of a fleet do what the fakes of the unit tests do."""

import threading
import time
from collections.abc import Callable, Iterator

import msgspec
import pytest

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.definitions.host import Network
from conductor.errors import ConductorError
from conductor.plan.lease import LeaseLostError
from conductor.runtime.docker.api import EngineApi
from conductor.runtime.swarm.api import SwarmApi
from conductor.runtime.swarm.client import SwarmRuntime
from conductor.runtime.swarm.objects import SwarmObjects
from conductor.state.fleet.objects import Objects
from tests.fakes import objects_contract, runtime_contract
from tests.fakes.runtime_contract import BEHAVIOURS, Case
from tests.support.images import APP
from tests.support.swarm import SwarmHost, swarm_host

pytestmark = pytest.mark.long
# A fleet refuses `publish`. The cgroups of a whole host have other paths on this machine. Swarm has no events of tasks.
LOCAL = {
    runtime_contract.address_of_a_published_replica,
    runtime_contract.usage_of_a_running_container,
    runtime_contract.events,
}


@pytest.fixture(scope="module")
def swarm(images: None) -> Iterator[SwarmHost]:
    with swarm_host() as made:
        yield made


@pytest.fixture(scope="module")
def contract_case(swarm: SwarmHost) -> Case:
    network = Network(name="conductor", subnet="10.211.3.0/24", tasks="10.211.3.192/26")
    clock = Clock()
    runtime = SwarmRuntime(swarm.url, "test", clock, SignalCancellation())
    runtime.ensure_network(network)

    def tag(reference: str) -> None:
        swarm.machine.run("docker", "tag", f"{APP}:r1", reference)

    return Case(runtime, clock, "test", network, f"{APP}:r1", tag, swarm.machine.address)


@pytest.fixture
def case(contract_case: Case) -> Iterator[Case]:
    yield contract_case
    found = contract_case.runtime.containers()
    for one in (*found.replicas, *found.tasks):
        contract_case.runtime.stop(one.id, 1)
        contract_case.runtime.remove(one.id)


@pytest.mark.parametrize("behaviour", [one for one in BEHAVIOURS if one not in LOCAL], ids=lambda one: one.__name__)
def test_contract(case: Case, behaviour: Callable[[Case], None]) -> None:
    behaviour(case)


def test_a_replica_that_exits_is_started_again_by_swarm_and_its_exit_is_seen_before(case: Case) -> None:
    container = case.started("exits")
    case.await_exit(container)
    began = case.clock.monotonic()
    while case.clock.monotonic() - began < 4:  # it is started again after 5 seconds
        state = case.runtime.inspect(container)
        assert state is not None
        assert (state.running, state.exit_code, state.error) == (False, 3, "")
        case.clock.sleep(0.1)
    first = state.since
    while (state := case.runtime.inspect(container)) is None or state.running or state.since == first:
        assert case.clock.monotonic() - began < 30
        case.clock.sleep(0.1)
    assert state.exit_code == 3
    assert case.runtime.stop(container, 1) is False
    state = case.runtime.inspect(container)
    assert state is not None
    assert (state.running, state.exit_code) == (False, 3)


def test_an_image_whose_volume_nothing_is_mounted_at_is_refused(case: Case, swarm: SwarmHost) -> None:
    """Another node would start with an empty one."""
    run = swarm.machine.run
    container = run("docker", "create", f"{APP}:r1").stdout.strip()
    run("docker", "commit", "--change", "VOLUME /data", container, "with-volume:r1")
    run("docker", "rm", container)
    image = case.runtime.image("with-volume:r1")
    assert image is not None
    spec = msgspec.structs.replace(case.replica("serves"), image_id=image.id)
    with pytest.raises(ConductorError, match="its image declares a VOLUME at /data, but nothing is mounted there"):
        case.runtime.create(spec)
    case.runtime.create(msgspec.structs.replace(spec, volumes=("data:/data",)))


def test_a_process_that_has_lost_its_lease_starts_and_stops_nothing(case: Case, swarm: SwarmHost) -> None:
    def fence() -> None:
        raise LeaseLostError("cannot continue: another manager has taken the lock")

    late = SwarmRuntime(swarm.url, "test", case.clock, SignalCancellation(), fence)
    created, running = case.runtime.create(case.replica("serves", 3)), case.started("serves")
    for call in (
        lambda: late.start(created), lambda: late.stop(running, 1), lambda: late.signal(running, "SIGTERM"),
        lambda: late.remove(running),
    ):  # fmt: skip
        with pytest.raises(LeaseLostError):
            call()
    states = {one.id: one.state for one in case.runtime.containers().replicas}
    assert states == {created: "created", running: "running"}


def test_a_task_that_the_node_rejects_is_an_error_in_its_own_words(case: Case) -> None:
    container = case.runtime.create(case.replica("serves", volumes=("/nosuch/file.conf:/file.conf",)))
    with pytest.raises(ConductorError, match=r"bind source path does not exist: /nosuch/file\.conf"):
        case.runtime.start(container)
    [replica] = case.runtime.containers().replicas
    assert replica.state == "created"
    case.clock.sleep(6)  # longer than Swarm waits before it starts a task again
    assert case.runtime.containers().replicas == (replica,)


def test_the_log_of_a_stopped_replica_can_be_read_until_its_removal(case: Case) -> None:
    container = case.started("prints-and-serves")
    case.runtime.stop(container, 1)
    case.clock.sleep(4)  # by then Swarm has forgotten the task
    assert case.runtime.logs(container, 10) == ("one",)
    case.runtime.remove(container)
    assert case.runtime.logs(container, 10) == ()


def test_a_replica_keeps_its_port_and_its_id_when_it_is_stopped_and_started(case: Case) -> None:
    container = case.started("serves", 7)
    before = case.runtime.inspect(container)
    case.runtime.signal(container, "SIGTERM")
    case.await_exit(container)
    case.runtime.start(container)
    assert case.runtime.inspect(container) == before
    assert before is not None
    assert before.address == f"{case.node}:21007"


def test_names_that_swarm_does_not_accept(case: Case) -> None:
    name = f"{'w' * 50}-1.2-ch1-1"
    spec = msgspec.structs.replace(case.replica("serves"), name=name)
    assert case.runtime.create(spec) == case.runtime.create(spec)
    [replica] = case.runtime.containers().replicas
    case.runtime.start(replica.id)
    assert case.runtime.containers().replicas[0].running


@pytest.fixture
def objects(swarm: SwarmHost) -> Iterator[SwarmObjects]:
    made = SwarmObjects(SwarmApi(EngineApi(swarm.url), Clock()), "test")
    yield made
    for one in made.read_all():
        made.remove(one.name)


@pytest.mark.parametrize("behaviour", objects_contract.BEHAVIOURS, ids=lambda one: one.__name__)
def test_objects(objects: SwarmObjects, behaviour: Callable[[Objects], None]) -> None:
    behaviour(objects)


def test_each_write_of_an_object_is_seen_at_once(case: Case, objects: SwarmObjects) -> None:
    seen = threading.Semaphore(0)

    def follow() -> None:
        for _ in case.runtime.writes():  # type: ignore[attr-defined]
            seen.release()

    threading.Thread(target=follow, daemon=True).start()
    until = time.monotonic() + 20
    while not seen.acquire(timeout=0.2):  # the stream is open now
        assert time.monotonic() < until
        objects.remove("web")
        objects.create("web", {"wanted": "0"})
    time.sleep(1)
    while seen.acquire(blocking=False):
        pass
    found = objects.read("web")
    assert found is not None
    assert objects.write(found, {"wanted": "1"})
    assert seen.acquire(timeout=0.5)


def test_the_objects_of_another_instance_are_not_seen(swarm: SwarmHost, objects: SwarmObjects) -> None:
    other = SwarmObjects(SwarmApi(EngineApi(swarm.url), Clock()), "other")
    objects.create("web", {"wanted": "1"})
    assert (other.read("web"), other.read_all()) == (None, ())
    other.remove("web")
    assert objects.read("web") is not None
