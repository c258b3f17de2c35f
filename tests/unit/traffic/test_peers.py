"""The peers in the text of a service's file, and nginx's files with `cutover: live`."""

from typing import Any

import pytest

from conductor.definitions.host import Host, HostNginx
from conductor.definitions.model import Definition, Nginx, Service
from conductor.definitions.scalars import Period
from conductor.plan.release import Maintenance
from conductor.plan.route import Route, Split
from conductor.traffic import grammar
from conductor.traffic.peers import (
    LUA_FILE,
    Peers,
    decoded,
    differ,
    encoded,
    peers_of,
    with_generation,
    without_peers,
)
from conductor.traffic.render import HEADER, OWN_FILE, Renderer, file_name

LIVE, RELOAD = (Renderer(Host(nginx=HostNginx(cutover=cutover))) for cutover in ("live", "reload"))  # type: ignore[arg-type]
ONE, TWO = "10.0.0.2:80", "10.0.0.3:80"


def route(*endpoints: str) -> Route:
    service = Service(image="app", port=80, nginx=Nginx(upstream="shop"))
    return Route(Definition(id="web", service=service, written={}, digest="d"), endpoints)


def test_the_file_has_the_peers_in_order() -> None:
    assert peers_of(LIVE.route(route(TWO, ONE))) == Peers("web", 0, (ONE, TWO))
    assert peers_of(LIVE.route(route())) == Peers("web", 0, ())
    assert peers_of(RELOAD.route(route(ONE))) is None
    assert peers_of(None) is None


def test_the_document_is_the_same_for_the_file_and_for_nginx() -> None:
    split = Route(route().definition, (ONE,), split=Split((TWO,), 12.5))
    peers = peers_of(LIVE.route(split))
    assert peers == Peers("web", 0, (ONE,), Split((TWO,), 12.5))
    assert decoded(encoded(peers)) == peers
    assert peers.all_endpoints == {ONE, TWO}
    assert not set(encoded(peers)) & set(" '\\\n")


@pytest.mark.parametrize(
    "document", ["", "{", "[]", '{"service":"web"}', '{"service":"web","generation":1,"endpoints":[],"weights":{}}']
)
def test_a_damaged_document_or_that_of_a_newer_version_is_no_peers(document: str) -> None:
    text = LIVE.route(route(ONE)).replace(encoded(Peers("web", 0, (ONE,))), document)
    assert peers_of(text) is None
    assert without_peers(text) == text
    assert with_generation(text, 1) == text


def test_the_generation_is_a_part_of_the_text() -> None:
    text = with_generation(LIVE.route(route(ONE)), 1764472000123)
    assert peers_of(text) == Peers("web", 1764472000123, (ONE,))
    assert with_generation(text, 0) == LIVE.route(route(ONE))


def test_peers_are_no_reason_for_a_reload_and_everything_else_is() -> None:
    before, after = ({"web.conf": LIVE.route(route(one))} for one in (ONE, TWO))
    assert not differ(before, after)
    assert LIVE.generation(before) == LIVE.generation(after)
    other = {"web.conf": after["web.conf"].replace("keepalive 64", "keepalive 65")}
    assert differ(before, other)
    assert differ(before, {**after, "x.conf": ""})
    assert without_peers(RELOAD.route(route(ONE))) == RELOAD.route(route(ONE))


def test_the_options_of_balancing() -> None:
    def of(renderer: Renderer, **nginx: Any) -> str:
        service = Service(image="app", port=80, nginx=Nginx(**nginx))
        return renderer.route(Route(Definition(id="web", service=service, written={}, digest="d"), (ONE,)))

    assert 'live.balance("web", peers)\n' in of(LIVE)
    assert '("web", peers, { least = true, slow_start = 0.5 })' in of(LIVE, balance="least", slow_start=Period(0.5))
    assert "    least_conn;\n    server 10.0.0.2:80" in of(RELOAD, balance="least")
    assert "least" not in of(RELOAD)
    assert differ({"web.conf": of(LIVE)}, {"web.conf": of(LIVE, balance="least")})


def test_nginx_answers_503_without_a_peer() -> None:
    found = [one for one in grammar.everywhere(LIVE.route(route(ONE))) if one.name == "server"]
    assert [one.arguments for one in found] == [(f"unix:{LIVE.unavailable}", "max_fails=0")]


def test_the_lua_is_loaded_while_a_file_needs_it() -> None:
    live = LIVE.candidate({}, {file_name("web"): LIVE.route(route(ONE))})
    assert live[LUA_FILE].startswith(HEADER)
    assert "lua_shared_dict" in live[OWN_FILE]
    half = RELOAD.candidate(live, {file_name("api"): RELOAD.route(route(ONE))})
    assert half[OWN_FILE] == RELOAD.candidate(half, {})[OWN_FILE]
    assert "lua_shared_dict" in half[OWN_FILE]
    moved = RELOAD.candidate(half, {file_name("web"): RELOAD.route(route(ONE))})
    assert "lua" not in moved[OWN_FILE]
    assert LUA_FILE in moved  # an old worker may read it
    assert "lua" in LIVE.candidate({}, {})[OWN_FILE]


def test_in_maintenance_the_page_is_no_peer() -> None:
    maintained = Route(
        route().definition, (ONE,), None, Maintenance(reason="x", who="ada", since="2026-01-01T00:00:00Z")
    )
    assert peers_of(LIVE.route(maintained)) is None
