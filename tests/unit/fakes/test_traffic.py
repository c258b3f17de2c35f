"""The fake traffic layer: the behaviours that it shares with nginx, and what only a fake can do."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from conductor.errors import ConductorError
from conductor.plan.route import Cutover
from tests.fakes.traffic import FakeTraffic
from tests.fakes.traffic_contract import BEHAVIOURS, Case

ONE, TWO = "10.0.0.1:80", "10.0.0.2:80"


@pytest.fixture
def traffic() -> FakeTraffic:
    return FakeTraffic()


@pytest.fixture
def case(traffic: FakeTraffic) -> Case:
    @contextlib.contextmanager
    def request(_service: str, endpoint: str) -> Iterator[None]:
        traffic.unfinished.add(endpoint)
        yield
        traffic.unfinished.remove(endpoint)

    def stop() -> None:
        traffic.running = False

    return Case(traffic, (ONE, TWO, "10.0.0.3:80", "10.0.0.4:80"), {"web": 8001, "api": 8002}, request, stop)


@pytest.mark.parametrize("behaviour", BEHAVIOURS, ids=lambda behaviour: behaviour.__name__)
def test_contract(case: Case, behaviour: Callable[[Case], None]) -> None:
    behaviour(case)


@pytest.mark.parametrize(
    ("at", "served", "records"), [("before", {ONE}, 0), ("recorded", {ONE}, 1), ("after", {TWO}, 1)]
)
def test_a_switch_fails_before_it_after_its_record_or_unproven(
    case: Case, traffic: FakeTraffic, at: str, served: set[str], records: int
) -> None:
    case.switch(case.route("web", ONE))
    traffic.fail("switch", error=ConductorError("cannot prove it"), at=at)
    recorded: list[Cutover] = []
    with pytest.raises(ConductorError, match="cannot prove it"):
        traffic.switch([case.route("web", TWO)], recorded.append)
    assert (traffic.serving("web"), len(recorded)) == (served, records)
    for cutover in recorded:
        case.undo(cutover)
    assert traffic.serving("web") == {ONE}
    case.switch(case.route("web", TWO))


def test_the_nth_call_of_a_method_or_of_any_method_fails_once(case: Case, traffic: FakeTraffic) -> None:
    traffic.fail("serves", nth=2)
    traffic.serves([])
    with pytest.raises(ConductorError):
        traffic.serves([])
    traffic.serves([])
    traffic.fail("*", nth=2)
    traffic.load()
    with pytest.raises(ConductorError):
        traffic.check([])
    assert traffic.calls == ["serves", "serves", "serves", "load", "check"]


def test_endpoints_in_force_cannot_be_drained(case: Case) -> None:
    last = case.switch(case.route("web", ONE))[-1]
    with pytest.raises(AssertionError):
        case.drain(last, ONE)
