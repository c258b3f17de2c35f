"""An edge makes what is requested, whatever it has missed, and says what became of it."""

import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from conductor.definitions.load import restore
from conductor.definitions.model import Health
from conductor.errors import ConductorError
from conductor.plan.edges import EdgeState, RouteAnswer, RouteRequest, RouteStep, SharedRoute, shared
from conductor.plan.route import Route
from conductor.state.fleet.edges import ROUTE, Edges
from conductor.supervise import edge
from conductor.supervise.edge import REACHABLE, health_from_here
from conductor.supervise.edge_routes import EdgeRoutes
from conductor.traffic.fleet.traffic import FleetTraffic
from conductor.traffic.port import Draining, TrafficUnavailable, Unreached
from tests.fakes.fleet import FakeEdge, leases
from tests.fakes.objects import FakeObjects
from tests.fakes.runtime import FakeCancellation, FakeClock
from tests.fakes.traffic import FakeTraffic

SERVICES = ("web", "api")
DEFINITIONS = {name: restore(name, {"image": "app", "port": 80, "nginx": {}}) for name in SERVICES}


def route(*endpoints: str, service: str = "web") -> Route:
    return Route(DEFINITIONS[service], endpoints)


ONE, TWO, THREE = (shared(route(f"10.0.0.{number}:80")) for number in (1, 2, 3))


class Fleet:
    """One edge, and a command that asks it."""

    def __init__(self, directory: Path) -> None:
        self.objects, self.clock, self.traffic = FakeObjects(), FakeClock(), FakeTraffic()
        self.edge = FakeEdge("h1", self.objects, self.clock, directory, self.traffic)
        self.leases = leases(self.objects, self.clock, "h1")
        for service in SERVICES:
            self.leases.take(service)
        fleet = self

        class Following(FakeCancellation):
            def wait(self, seconds: float) -> None:
                super().wait(seconds)
                fleet.edge.process.follow()

        self.edges = Edges(self.objects, self.leases, self.clock, Following(self.clock))
        self.command = FleetTraffic(self.traffic, self.edges, lambda: ["h1"], self.clock)

    def ask(self, id_: str, step: RouteStep, made: SharedRoute | None, *, undoes: str = "") -> None:
        """Request a step of web."""
        request = RouteRequest(id=id_, step=step, route=made, undoes=undoes, wanted=made if step == "check" else None)
        self.edges.request({"web": request}, ["h1"], 10.0)

    def fail_switch(self, id_: str, made: SharedRoute) -> None:
        """Request a cutover that takes effect, but is not proven."""
        self.traffic.fail("switch", at="after")
        with pytest.raises(ConductorError):
            self.ask(id_, "cutover", made)

    @property
    def serving(self) -> SharedRoute | None:
        found = self.traffic.serving("web")
        return next((one for one in (ONE, TWO, THREE) if set(one.endpoints) == found), None)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with tempfile.TemporaryDirectory() as directory:
        yield Fleet(Path(directory))


def test_a_switch_that_was_not_proven_is_undone(fleet: Fleet) -> None:
    fleet.ask("c1", "cutover", ONE)
    fleet.fail_switch("c2", TWO)
    for _ in range(2):
        fleet.edge.start()
        fleet.ask("u2", "undo", ONE, undoes="c2")
        assert fleet.serving == ONE


def test_after_a_switch_that_was_not_proven_the_route_in_force_is_restored_by_any_step(fleet: Fleet) -> None:
    fleet.ask("c1", "cutover", ONE)
    fleet.fail_switch("c2", TWO)
    fleet.ask("k3", "check", ONE)
    assert fleet.serving == ONE


def test_what_a_verified_switch_leaves_to_drain_is_recorded(fleet: Fleet) -> None:
    """Another program may have reloaded nginx between the first record and the switch."""
    fleet.ask("c1", "cutover", ONE)
    [cutover] = fleet.edge.routes.cutovers({"web": ONE})
    assert cutover.state["verified"]


def test_an_undo_does_not_lead_back_to_a_switch_that_was_not_proven(fleet: Fleet) -> None:
    fleet.ask("c1", "cutover", ONE)
    fleet.fail_switch("c2", TWO)
    fleet.ask("c3", "cutover", THREE)
    fleet.ask("u3", "undo", ONE, undoes="c3")
    assert fleet.serving == ONE


def test_an_undo_on_an_edge_that_missed_the_change_before(fleet: Fleet) -> None:
    fleet.ask("c1", "cutover", ONE)
    fleet.ask("c3", "cutover", THREE)
    fleet.ask("u3", "undo", TWO, undoes="c3")
    assert fleet.serving == TWO


def test_a_first_cutover_that_was_missed_has_nothing_to_undo(fleet: Fleet) -> None:
    fleet.ask("u1", "undo", None, undoes="c1")
    assert (fleet.serving, fleet.traffic.calls) == (None, [])


def test_a_step_is_made_once(fleet: Fleet) -> None:
    fleet.ask("c1", "cutover", ONE)
    writes = fleet.objects.writes
    for _ in range(3):
        fleet.edge.start()
        fleet.edge.process.follow()
    assert (fleet.traffic.calls.count("switch"), fleet.objects.writes) == (1, writes)


def test_a_write_ends_the_wait_for_requests(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "FOLLOW_SECONDS", 60.0)
    ended, written = threading.Event(), threading.Event()
    following = threading.Thread(target=fleet.edge.process.run, args=(ended, written), daemon=True)
    following.start()
    try:
        for id_ in ("c1", "c2"):
            request = RouteRequest(id=id_, step="cutover", route=ONE)
            fleet.leases.write("web", {ROUTE: msgspec.json.encode(request).decode()})
            written.set()
            until = time.monotonic() + 20
            while fleet.edges.confirmation({"web": request}, ["h1"]).missing:
                assert time.monotonic() < until, id_
                time.sleep(0.01)
    finally:
        ended.set()
        written.set()
        following.join(20)
    assert not following.is_alive()


def test_services_that_change_together_are_switched_together(fleet: Fleet) -> None:
    routes = [route("10.0.0.1:80"), route("10.0.0.2:80", service="api")]
    fleet.traffic.unreached = (Unreached(service="web", name="a", address="*:80", everything=True),)
    fleet.traffic.check_warnings = {"web": "one", "api": "two"}
    assert fleet.command.check(routes) == ("two", "one")
    records = []  # type: ignore[var-annotated]
    assert fleet.command.switch(routes, records.append) == fleet.traffic.unreached
    assert fleet.traffic.calls.count("switch") == 1
    fleet.traffic.unfinished.add("10.0.0.9:80")
    progress: list[Draining] = []
    drained = fleet.command.drain(records[-1], ["10.0.0.9:80"], 5.0, progress.append)
    assert (drained.cut, str(progress[0])) == (1, "5s left for edge h1")
    fleet.command.undo(records[-1], SERVICES, records.append)
    assert (fleet.traffic.calls.count("undo"), fleet.traffic.routes) == (1, {})


def test_a_switch_that_an_edge_has_not_confirmed_is_asked_for_again(fleet: Fleet) -> None:
    fleet.command.switch([route("10.0.0.1:80")], lambda _: None)
    fleet.traffic.fail("switch", at="recorded")
    with pytest.raises(ConductorError, match="cannot switch nginx for web: edge h1 failed"):
        fleet.command.switch([route("10.0.0.2:80")], lambda _: None)
    assert fleet.serving == ONE
    fleet.command.switch([route("10.0.0.2:80")], lambda _: None)
    assert fleet.serving == TWO


def test_without_an_edge_nothing_is_done(fleet: Fleet) -> None:
    with pytest.raises(ConductorError, match="cannot check nginx's files for web: no manager is an edge"):
        FleetTraffic(fleet.traffic, fleet.edges, list, fleet.clock).check([route()])


def test_what_an_edge_knows_is_known_until_its_last_worker_has_ended(fleet: Fleet) -> None:
    fleet.command.switch([route("10.0.0.1:80")], lambda _: None)
    fleet.traffic._old.add("10.0.0.9:80")
    fleet.edge.process.follow()
    elsewhere = FleetTraffic(FakeTraffic(), fleet.edges, lambda: ["h1"], fleet.clock)
    assert elsewhere.known() == {"10.0.0.1:80", "10.0.0.9:80"}
    fleet.traffic._old.clear()
    fleet.edge.process.follow()
    writes = fleet.objects.writes
    fleet.edge.process.follow()
    assert (elsewhere.known(), fleet.objects.writes) == ({"10.0.0.1:80"}, writes)


def test_what_an_edge_has_confirmed(fleet: Fleet) -> None:
    assert fleet.command.edges("web") == ()
    fleet.command.switch([route("10.0.0.1:80")], lambda _: None)
    assert fleet.command.edges("web") == (EdgeState(name="h1", step="cutover", confirmed=True),)
    fleet.traffic.fail("switch", at="recorded")
    with pytest.raises(ConductorError):
        fleet.command.switch([route("10.0.0.2:80")], lambda _: None)
    [failed] = fleet.command.edges("web")
    assert (failed.step, failed.confirmed, bool(failed.error)) == ("cutover", False, True)
    two = FleetTraffic(fleet.traffic, fleet.edges, lambda: ["h1", "h2"], fleet.clock)
    assert two.edges("web")[1] == EdgeState(name="h2", step="cutover", confirmed=False)


def test_a_replica_that_swarm_has_moved_is_drained_where_it_ran(fleet: Fleet) -> None:
    """The command knows one of its endpoints; nginx may have old workers that know another one, at the same port."""
    fleet.command.switch([route("10.0.0.1:21000")], lambda _: None)
    fleet.traffic._old.add("10.0.0.3:21000")
    fleet.traffic.unfinished.add("10.0.0.3:21000")
    records = []  # type: ignore[var-annotated]
    fleet.command.switch([route("10.0.0.2:21001")], records.append)
    assert fleet.command.drain(records[-1], ["10.0.0.1:21000"], 5.0, lambda _: None).cut == 1


def test_a_traffic_layer_that_is_not_running(fleet: Fleet) -> None:
    fleet.traffic.running = False
    with pytest.raises(TrafficUnavailable) as caught:
        fleet.command.check([route()])
    assert caught.value.details == ("edge h1: the traffic layer is not running",)


def test_a_drain_ends_when_another_command_has_taken_over(fleet: Fleet) -> None:
    fleet.ask("c1", "cutover", ONE)
    process = fleet.edge.process
    drain = RouteRequest(id="d1", step="drain", route=ONE, endpoints=("10.0.0.9:80",), seconds=30.0)
    process._latest = {"web": "d2"}
    process._answer({"web": drain})
    assert fleet.edges.see("h1").answers["web"] == RouteAnswer(id="d1", error="another command has taken over")


def test_a_bug_ends_no_loop_and_leaves_the_step_unanswered(fleet: Fleet) -> None:
    fleet.traffic.fail("switch", error=ZeroDivisionError("a bug"))
    fleet.ask("c1", "cutover", ONE)  # the second attempt succeeds
    assert fleet.serving == ONE
    assert any("a bug" in line for line in fleet.edge.log)


def test_a_file_that_is_damaged_is_reported(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "edge").mkdir()
    (tmp_path / "edge" / "web.json").write_text("{")
    with pytest.raises(ConductorError, match=r"cannot read .*web\.json: it is damaged"):
        EdgeRoutes(fleet.traffic, tmp_path)


@pytest.mark.parametrize(
    ("health", "expected"),
    [
        (None, REACHABLE),
        ({"none": True}, REACHABLE),
        ({"command": ["true"]}, REACHABLE),
        ({"path": "/up"}, Health(path="/up")),
        ({"tcp": True}, Health(tcp=True)),
    ],
)
def test_what_another_node_can_check(health: dict[str, object] | None, expected: Health) -> None:
    written = {"image": "app", "port": 80, "nginx": {}, **({"health": health} if health else {})}
    assert health_from_here(restore("web", written).service.health) == expected
