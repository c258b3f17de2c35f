"""A swarm of three whole hosts: replicas on other nodes, and leases while a manager is lost."""

import time
from collections.abc import Iterator

import pytest

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.definitions.host import Network
from conductor.errors import ConductorError
from conductor.plan.lease import LEASE_SECONDS, Lease, LeaseLostError
from conductor.runtime.docker.api import EngineApi
from conductor.runtime.swarm.api import SwarmApi
from conductor.runtime.swarm.client import SwarmRuntime
from conductor.runtime.swarm.objects import SwarmObjects
from conductor.state.fleet.leases import Leases
from tests.fakes.runtime_contract import Case
from tests.support.images import APP
from tests.support.swarm import SwarmHost, swarm_hosts

pytestmark = pytest.mark.long
NETWORK = Network(name="conductor", subnet="10.211.3.0/24", tasks="10.211.3.192/26")


@pytest.fixture(scope="module")
def hosts(images: None) -> Iterator[tuple[SwarmHost, ...]]:
    with swarm_hosts("h1", "h2", "h3") as made:
        yield made


def case_on(host: SwarmHost) -> Case:
    clock = Clock()
    runtime = SwarmRuntime(host.url, "test", clock, SignalCancellation())
    return Case(runtime, clock, "test", NETWORK, f"{APP}:r1", lambda _: None, host.machine.address)


def leases_on(host: SwarmHost, *, in_background: bool) -> Leases:
    like = Lease(token="", node=host.machine.name, pid=1, command="upgrade", since="")
    objects = SwarmObjects(SwarmApi(EngineApi(host.url), Clock()), "test")
    return Leases(objects, Clock(), like, in_background=in_background)


def test_replicas_with_one_port_are_on_different_nodes_and_each_manager_sees_all(hosts: tuple[SwarmHost, ...]) -> None:
    cases = [case_on(host) for host in hosts]
    first = cases[0]
    made = [first.runtime.create(first.replica("prints-and-serves", 2, change=f"ch{one}")) for one in range(3)]
    for container in made:
        first.runtime.start(container)
    lists = [sorted(one.runtime.containers().replicas, key=lambda replica: replica.node) for one in cases]
    assert lists[0] == lists[1] == lists[2]
    assert [one.node for one in lists[0]] == ["h1", "h2", "h3"]
    assert [one.endpoint for one in lists[0]] == [f"{host.machine.address}:21002" for host in hosts]
    fourth = first.runtime.create(first.replica("serves", 2, change="ch4"))
    with pytest.raises(ConductorError, match="no suitable node"):
        first.runtime.start(fourth)
    first.runtime.remove(fourth)
    for case in cases:
        assert [case.runtime.logs(container, 5) for container in made] == [("one",)] * 3
        ran = [case.runtime.execute(container, ("true",), 5) for container in made]
        assert sorted((one.ok, one.unknown) for one in ran) == [(False, True), (False, True), (True, False)]
    for case, container in zip(cases, made, strict=True):
        assert case.runtime.stop(container, 5) is False
        assert [str(one.runtime.inspect(container)) for one in cases] == ["exited with code 143"] * 3
        assert case.runtime.logs(container, 5) == ("one",)
        case.runtime.remove(container)
    assert first.runtime.containers().replicas == ()


def test_a_lease_that_nobody_renews_is_taken_by_another_manager(hosts: tuple[SwarmHost, ...]) -> None:
    one, other = leases_on(hosts[0], in_background=False), leases_on(hosts[1], in_background=False)
    assert one.take("killed") is None
    one.write("killed", {"journal": "1"})
    began = time.monotonic()
    while other.take("killed") is not None:
        time.sleep(0.5)
    took = time.monotonic() - began
    print(f"taken after {took:.1f} s")
    assert took >= LEASE_SECONDS
    assert other.values("killed")["journal"] == "1"
    with pytest.raises(LeaseLostError, match="on h2"):
        one.write("killed", {"journal": "2"})


def test_the_loss_of_the_leader(hosts: tuple[SwarmHost, ...]) -> None:
    """A lease that is renewed stays with its holder, and a replica of the lost node runs on another one."""
    [leader] = [host for host in hosts if host.is_leader()]
    holder, other = (host for host in hosts if host is not leader)
    case = case_on(holder)
    made = [case.runtime.create(case.replica("serves", 2, change=f"ch{one}")) for one in range(2)]
    for container in made:
        case.runtime.start(container)
    if not [one for one in case.runtime.containers().replicas if one.node == leader.machine.name]:
        made.append(case.runtime.create(case.replica("serves", 2, change="ch3")))
        case.runtime.start(made[-1])
    [lost] = [one for one in case.runtime.containers().replicas if one.node == leader.machine.name]
    mine, others = leases_on(holder, in_background=True), leases_on(other, in_background=False)
    assert mine.take("web") is None
    leader.machine.power_off(orderly=False)
    try:
        began, longest = time.monotonic(), 0.0
        while time.monotonic() - began < 40:
            call = time.monotonic()
            assert others.take("web") is not None
            longest = max(longest, time.monotonic() - call)
            time.sleep(0.3)
        print(f"the longest call took {longest:.1f} s")
        mine.write("web", {"journal": "1"})
        for container in set(made) - {lost.id}:
            case.runtime.stop(container, 1)  # its port is the one that the lost one needs
            case.runtime.remove(container)
        until = time.monotonic() + 90
        while not (found := case.runtime.inspect(lost.id)) or not found.running or found.address == lost.address:
            assert time.monotonic() < until, str(found)
            time.sleep(0.5)
        print(f"on another node after {time.monotonic() - began:.0f} s")
    finally:
        mine.release("web")
        leader.machine.power_on()
    assert case.runtime.stop(lost.id, 1) is False
    case.runtime.remove(lost.id)
