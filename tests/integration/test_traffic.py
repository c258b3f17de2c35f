"""Upgrades under load lose no request: the app exits at once on SIGTERM, and clients never check their connection."""

import time
from itertools import cycle, islice
from typing import Any, NamedTuple

import pytest

from tests.support.aftermath import nothing_left_behind
from tests.support.host import TestHost, merged
from tests.support.images import REVISIONS
from tests.support.load import LoadResult
from tests.support.own_server import UPSTREAM_ONLY, install_own_server

pytestmark = pytest.mark.both_ways

SETTLE_SECONDS = 0.3  # after the last upgrade, so that late answers of an old revision would show


class Traffic(NamedTuple):
    """The numbers of clients, the duration of the announce, and the number of upgrades."""

    busy: int
    idle: int
    idle_seconds: float
    announce: str
    upgrades: int
    own_block: bool = False


TRAFFIC = {
    "busy and idle": Traffic(50, 50, 0.1, "500ms", 10),
    "one second of think time": Traffic(0, 50, 1.0, "2s", 5),
    "busy and idle, the operator's block": Traffic(50, 50, 0.1, "500ms", 4, own_block=True),
    "one second of think time, the operator's block": Traffic(0, 50, 1.0, "2s", 3, own_block=True),
}


@pytest.mark.parametrize("traffic", TRAFFIC.values(), ids=TRAFFIC)
def test_upgrades_under_load_lose_nothing(host: TestHost, traffic: Traffic) -> None:
    host.define(
        {"web": UPSTREAM_ONLY if traffic.own_block else {}},
        host_extra={"nginx": {"announce": traffic.announce}},
    )
    if traffic.own_block:
        install_own_server(host)
    host.upgrade("r1", check=True)
    revisions = list(islice(cycle(REVISIONS), 1, traffic.upgrades + 1))
    with host.load(busy=traffic.busy, idle=traffic.idle, idle_seconds=traffic.idle_seconds) as load:
        gone = upgrade_through(host, revisions)
        result = load.stop()
    print(result)
    assert result.lost == 0, f"{result}\n{result.told[:10]}"
    assert set(result.revisions) == {"r1", *revisions}, str(result)
    too_late = {r: result.revisions[r].asked - at for r, at in gone.items() if result.revisions[r].asked > at}
    assert too_late == {}
    nothing_left_behind(host, revisions[-1], count=2)
    assert [line.get("warnings", 0) for line in host.history()] == [0] * (traffic.upgrades + 1)


def upgrade_through(host: TestHost, revisions: list[str], service: str = "web") -> dict[str, float]:
    """Upgrade through `revisions`; return when each one that does not return was gone."""
    gone: dict[str, float] = {}
    for revision in revisions:
        (before,) = set(host.revisions(service))
        host.upgrade(revision, service, check=True)
        assert host.revisions(service) == [revision, revision]
        gone[before] = time.time()
    gone.pop(revisions[-1], None)
    time.sleep(SETTLE_SECONDS)
    return gone


def test_published_ports(host: TestHost) -> None:
    """Old and new containers run side by side, each on its own port of the range."""
    low, high = host.claims.ports(6)
    service: dict[str, Any] = {"publish": [low, high]}
    host.define({"web": service})
    host.upgrade("r1", check=True)
    used = ports_of(host)
    with host.load(busy=5, idle=5) as load:
        for revision in ("r2", "r3"):
            host.upgrade(revision, check=True)
            fresh = ports_of(host)
            assert not fresh & used, "a port of the previous release was reused at once"
            assert all(low <= port <= high for port in fresh)
            used = fresh
        result = load.stop()
    print(result)
    assert result.lost == 0, f"{result}\n{result.told[:10]}"
    assert set(result.revisions) == {"r1", "r2", "r3"}
    nothing_left_behind(host, "r3", count=2)


def ports_of(host: TestHost) -> set[int]:
    """Return the published ports of the running containers; check that their labels have the same."""
    found = set()
    for container in host.containers("web"):
        bound = host.daemon.api.inspect_container(container.id)["NetworkSettings"]["Ports"]["8080/tcp"]
        assert [b["HostIp"] for b in bound] == ["127.0.0.1"]
        assert container.labels["conductor.address"] == f"127.0.0.1:{bound[0]['HostPort']}"
        found.add(int(bound[0]["HostPort"]))
    return found


def test_503_before_the_first_deployment_and_with_count_0(host: TestHost) -> None:
    """The operator's block refers to the service before it was ever deployed."""
    host.define({"web": UPSTREAM_ONLY})
    install_own_server(host)
    answer = host.get()
    assert (answer.status, answer.revision) == (503, None)
    assert b"no replica of this service is running" in answer.body
    assert b"\r\nRetry-After: 5" in answer.head
    host.upgrade("r1", check=True)
    assert (host.get().status, host.get().revision) == (200, "r1")

    host.define({"web": merged(UPSTREAM_ONLY, {"count": 0})})
    with host.load(busy=5, idle=5) as load:
        host.upgrade("r1", check=True)
        result = load.stop()
    print(result)
    assert ended_connections(result) == 0, str(result)
    assert set(result.statuses) == {"200", "503"}
    assert host.containers("web") == []
    assert host.get().status == 503
    assert host.history()[-1]["steps"].keys() >= {"cutover", "drain", "retire"}
    assert host.journal() is None

    host.define({"web": UPSTREAM_ONLY})
    host.upgrade("r2", check=True)
    nothing_left_behind(host, "r2", count=2)


def ended_connections(result: LoadResult) -> int:
    """Losses that are no answer; a 503 is one."""
    return sum(count for kind, count in result.losses.items() if kind != "5xx")
