"""The behaviours that every traffic layer shares, as one table: `FakeTraffic` in unit tests, nginx in an integration test.

A behaviour that the fake got wrong fails in one of the two, so the fake cannot drift from nginx.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

import msgspec
import pytest

from conductor.definitions.load import restore
from conductor.plan.release import Maintenance
from conductor.plan.route import Cutover, Route
from conductor.traffic.port import Drained, Installed, Traffic, TrafficUnavailable

SERVICES = ("web", "api")
DRAIN_SECONDS = 10.0


class Case(NamedTuple):
    """A running traffic layer without routes.

    `endpoints` are four that a route may have, `ports` are those that clients of a service use. `request` keeps a request
    of a service in progress, with the endpoint that it reaches. `stop` stops the traffic layer.
    """

    traffic: Traffic
    endpoints: tuple[str, str, str, str]
    ports: dict[str, int]
    request: Callable[[str, str], AbstractContextManager[None]]
    stop: Callable[[], None]

    def route(self, service: str, *endpoints: str) -> Route:
        """Return a route with a server block of its own."""
        server = {"listen": [f"127.0.0.1:{self.ports[service]}"], "names": ["localhost"]}
        nginx = {"upstream": service, "drain": f"{DRAIN_SECONDS:g}s", "server": server}
        definition = restore(service, {"image": "app", "port": 80, "nginx": nginx})
        return Route(definition, endpoints)

    def switch(self, *routes: Route) -> list[Cutover]:
        """Switch; return what was recorded."""
        records: list[Cutover] = []
        self.traffic.switch(routes, records.append)
        return records

    def undo(self, cutover: Cutover, *services: str) -> list[Cutover]:
        """Undo, for all services or for some; return what was recorded."""
        records: list[Cutover] = []
        self.traffic.undo(cutover, services or SERVICES, records.append)
        return records

    def drain(self, cutover: Cutover, *endpoints: str, seconds: float = DRAIN_SECONDS) -> Drained:
        """Drain endpoints."""
        return self.traffic.drain(cutover, endpoints, seconds, lambda _text: None)


def maintained(route: Route, message: str = "Back at noon.") -> Route:
    """Return the route in maintenance."""
    return msgspec.structs.replace(
        route, maintenance=Maintenance(reason=message, who="ada", since="2026-01-01T00:00:00Z")
    )


class Stopped(Exception):  # noqa: N818 (the end of a process, not an error)
    """The process ends while it records a cutover."""


BEHAVIOURS: list[Callable[[Case], None]] = []


def behaviour(test: Callable[[Case], None]) -> Callable[[Case], None]:
    """Add a behaviour to the table."""
    BEHAVIOURS.append(test)
    return test


@behaviour
def nothing_is_served_at_first(case: Case) -> None:
    one = case.endpoints[0]
    case.traffic.check([case.route("web", one)])
    assert not case.traffic.serves([case.route("web", one)])
    assert (case.traffic.serving("web"), case.traffic.known()) == (frozenset(), frozenset())


@behaviour
def a_switch_serves_its_routes(case: Case) -> None:
    one, two, *_ = case.endpoints
    route = case.route("web", one, two)
    assert case.switch(route)
    assert case.traffic.serves([route])
    assert not case.traffic.serves([case.route("web", one)])
    assert case.traffic.serving("web") == {one, two} == case.traffic.known()


@behaviour
def the_order_of_endpoints_does_not_matter(case: Case) -> None:
    """Replicas are listed by name, and in a journal those that stay come first."""
    one, two, *_ = case.endpoints
    case.switch(case.route("web", two, one))
    assert case.traffic.serves([case.route("web", one, two)])
    assert all(file.present == file.wanted for file in case.traffic.files([case.route("web", one, two)]))
    assert len(case.switch(case.route("web", one, two))) == 1


@behaviour
def a_switch_changes_no_other_service(case: Case) -> None:
    one, two, three, _ = case.endpoints
    case.switch(case.route("web", one), case.route("api", two))
    case.switch(case.route("api", three))
    assert case.traffic.serves([case.route("web", one), case.route("api", three)])
    assert (case.traffic.serving("web"), case.traffic.serving("api")) == ({one}, {three})


@behaviour
def a_route_without_endpoints_is_served(case: Case) -> None:
    case.switch(case.route("web", case.endpoints[0]))
    case.switch(case.route("web"))
    assert case.traffic.serves([case.route("web")])
    assert case.traffic.serving("web") == frozenset()


@behaviour
def a_maintenance_is_a_part_of_what_is_served(case: Case) -> None:
    """The endpoints are those that get the requests again."""
    one, *_ = case.endpoints
    route = case.route("web", one)
    case.switch(route)
    last = case.switch(maintained(route))[-1]
    assert case.traffic.serves([maintained(route)])
    assert not any(case.traffic.serves([other]) for other in (route, maintained(route, "other"), case.route("web")))
    assert case.traffic.serving("web") == {one} == case.traffic.known()
    assert case.drain(last, one) == Drained()
    case.undo(last)
    assert case.traffic.serves([route])
    assert not case.traffic.serves([maintained(route)])


@behaviour
def routes_change_in_maintenance(case: Case) -> None:
    one, two, *_ = case.endpoints
    case.switch(maintained(case.route("web", one)))
    last = case.switch(maintained(case.route("web", two)))[-1]
    assert case.traffic.serving("web") == {two}
    assert case.drain(last, one) == Drained()
    assert case.traffic.known() == {two}
    route = maintained(case.route("web", two))
    case.traffic.install([route], {"web"})  # the first one also writes what is not a route
    assert case.traffic.install([route], {"web"}) == Installed()
    assert case.traffic.serves([route])
    changed = [file for file in case.traffic.files([case.route("web", two)]) if file.present != file.wanted]
    assert changed


@behaviour
def a_maintenance_waits_for_a_request_in_progress(case: Case) -> None:
    one, *_ = case.endpoints
    route = case.route("web", one)
    case.switch(route)
    with case.request("web", one):
        last = case.switch(maintained(route))[-1]
        assert case.drain(last, one, seconds=0.2) == Drained(cut=1)
    assert case.drain(last, one) == Drained()


@behaviour
def a_switch_is_recorded_before_it_and_after_it(case: Case) -> None:
    one, two, *_ = case.endpoints
    case.switch(case.route("web", one))
    seen: list[tuple[frozenset[str], frozenset[str]]] = []
    case.traffic.switch(
        [case.route("web", two)], lambda _cutover: seen.append((case.traffic.serving("web"), case.traffic.known()))
    )
    before, after = seen
    assert before == (frozenset({one}), frozenset({one}))
    assert (after[0], after[1] >= {one, two}) == (frozenset({two}), True)


@behaviour
def a_switch_to_the_same_routes_only_records(case: Case) -> None:
    route = case.route("web", case.endpoints[0])
    case.switch(route)
    [again] = case.switch(route)
    assert case.traffic.serves([route])
    case.undo(again)
    assert case.traffic.serves([route])


@behaviour
def an_undo_restores_what_was_served_before(case: Case) -> None:
    one, two, three, _ = case.endpoints
    case.switch(case.route("web", one), case.route("api", three))
    last = case.switch(case.route("web", two))[-1]
    case.undo(last)
    assert case.traffic.serves([case.route("web", one), case.route("api", three)])
    assert (case.traffic.serving("web"), case.traffic.serving("api")) == ({one}, {three})
    assert case.drain(last, two) == Drained()


@behaviour
def an_undo_leaves_a_service_alone_that_changed_since(case: Case) -> None:
    one, two, three, four = case.endpoints
    case.switch(case.route("web", one), case.route("api", three))
    last = case.switch(case.route("web", two), case.route("api", four))[-1]
    case.undo(last)
    case.switch(case.route("web", two))
    undone = case.undo(last, "api")
    assert case.traffic.serves([case.route("web", two), case.route("api", three)])
    case.undo(undone[-1])
    assert (case.traffic.serving("web"), case.traffic.serving("api")) == ({two}, {three})


@behaviour
def an_undo_of_the_first_switch_removes_the_route(case: Case) -> None:
    one, two, *_ = case.endpoints
    last = case.switch(case.route("web", one))[-1]
    case.switch(case.route("api", two))
    case.undo(last)
    assert case.traffic.serving("web") == frozenset()
    assert not case.traffic.serves([case.route("web", one)])
    assert case.traffic.serving("api") == {two}


@behaviour
def an_undo_can_be_repeated_from_any_of_its_records(case: Case) -> None:
    one, two, *_ = case.endpoints
    case.switch(case.route("web", one))
    switched = case.switch(case.route("web", two))
    undone = case.undo(switched[-1])
    for cutover in (switched[0], undone[0], undone[-1]):
        case.undo(cutover)
        assert case.traffic.serves([case.route("web", one)])
        assert case.traffic.serving("web") == {one}


@behaviour
def a_switch_that_was_recorded_and_not_made_can_be_undone(case: Case) -> None:
    one, two, *_ = case.endpoints
    case.switch(case.route("web", one))
    records: list[Cutover] = []

    def stop(cutover: Cutover) -> None:
        records.append(cutover)
        raise Stopped

    with pytest.raises(Stopped):
        case.traffic.switch([case.route("web", two)], stop)
    assert case.traffic.serves([case.route("web", one)])
    case.undo(records[0])
    assert case.traffic.serves([case.route("web", one)])
    assert case.traffic.serving("web") == {one}
    assert case.drain(records[0], two) == Drained()


@behaviour
def removed_endpoints_are_drained(case: Case) -> None:
    one, two, *_ = case.endpoints
    case.switch(case.route("web", one))
    last = case.switch(case.route("web", two))[-1]
    assert case.drain(last, one) == Drained()
    assert case.traffic.known() == {two}


@behaviour
def a_drain_without_endpoints_returns(case: Case) -> None:
    last = case.switch(case.route("web", case.endpoints[0]))[-1]
    assert case.drain(last) == Drained()


@behaviour
def removed_endpoints_are_known_while_a_request_with_them_is_in_progress(case: Case) -> None:
    one, two, *_ = case.endpoints
    case.switch(case.route("web", one))
    with case.request("web", one):
        last = case.switch(case.route("web", two))[-1]
        assert case.traffic.serving("web") == {two}
        assert case.drain(last, one, seconds=0.2) == Drained(cut=1)
        assert case.traffic.known() == {one, two}
        emptied = case.switch(case.route("web"))[-1]
        assert one in case.traffic.known()
    assert case.drain(last, one) == Drained()
    assert case.drain(emptied, two) == Drained()
    assert case.traffic.known() == frozenset()


@behaviour
def an_install_writes_routes_and_keeps_or_removes_others(case: Case) -> None:
    one, two, *_ = case.endpoints
    web, api = case.route("web", one), case.route("api", two)
    assert case.traffic.install([web, api], {"web", "api"}).wrote
    assert case.traffic.serves([web, api])
    assert case.traffic.install([web, api], {"web", "api"}) == Installed()
    assert case.traffic.install([web], {"web", "api"}) == Installed()
    assert case.traffic.serving("api") == {two}
    assert case.traffic.install([web], {"web"}).wrote
    assert (case.traffic.serving("web"), case.traffic.serving("api")) == ({one}, frozenset())


@behaviour
def endpoints_that_an_install_removes_are_known_while_a_request_with_them_is_in_progress(case: Case) -> None:
    one, two, *_ = case.endpoints
    case.switch(case.route("web", one))
    with case.request("web", one):
        case.traffic.install([case.route("web", two)], {"web"})
        assert case.traffic.serving("web") == {two}
        assert case.traffic.known() == {one, two}


@behaviour
def files_show_what_a_switch_would_write(case: Case) -> None:
    route = case.route("web", case.endpoints[0])
    before = case.traffic.files([route])
    assert [file.present for file in before] == [None] * len(before)
    assert before
    case.switch(route)
    after = case.traffic.files([route])
    assert {file.path for file in after} == {file.path for file in before}
    assert [file.present for file in after] == [file.wanted for file in after]
    changed = [file for file in case.traffic.files([case.route("web")]) if file.present != file.wanted]
    assert changed


@behaviour
def installed_files_are_present_after_an_install(case: Case) -> None:
    case.traffic.install([], ())
    assert all(file.present == file.wanted for file in case.traffic.installed_files())


@behaviour
def what_is_installed_is_valid_also_while_it_is_stopped(case: Case) -> None:
    case.traffic.install([], ())
    assert case.traffic.verify([case.route("web")]) == ()
    assert case.traffic.limits_old_connections()
    assert all(part.isdigit() for part in case.traffic.version().split("."))
    case.stop()
    assert case.traffic.verify([case.route("web")]) == ()


@behaviour
def loading_again_changes_nothing(case: Case) -> None:
    route = case.route("web", case.endpoints[0])
    case.switch(route)
    case.traffic.load()
    assert case.traffic.serves([route])


@behaviour
def a_stopped_traffic_layer_refuses_a_change_and_records_nothing(case: Case) -> None:
    one, two, *_ = case.endpoints
    last = case.switch(case.route("web", one))[-1]
    assert case.traffic.is_running()
    case.stop()
    assert not case.traffic.is_running()
    records: list[Cutover] = []
    route = case.route("web", two)
    with pytest.raises(TrafficUnavailable):
        case.traffic.check([route])
    with pytest.raises(TrafficUnavailable):
        case.traffic.switch([route], records.append)
    with pytest.raises(TrafficUnavailable):
        case.traffic.undo(last, SERVICES, records.append)
    assert records == []
    assert case.traffic.serving("web") == {one}


@behaviour
def a_stopped_traffic_layer_is_installed_and_loads_at_its_start(case: Case) -> None:
    case.stop()
    assert case.traffic.install([case.route("web", case.endpoints[0])], {"web"}).wrote
    assert case.traffic.serving("web") == {case.endpoints[0]}
    case.traffic.load()
