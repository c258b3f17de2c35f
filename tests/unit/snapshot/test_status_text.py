"""`service status` as text: its lines, and how tables fit the width."""

from typing import Any

import msgspec
import pytest

from conductor.output.printable import memory_text
from conductor.plan.edges import EdgeState, RouteStep
from conductor.plan.history import Outcome
from conductor.plan.route import TrafficState, Way
from conductor.snapshot import notes
from conductor.snapshot.model import CronSnapshot, HostSnapshot, ReplicaSnapshot, RouteSnapshot, ServiceSnapshot
from conductor.snapshot.past import LastChange
from conductor.snapshot.rows import CheckOutcome, ServiceCondition
from conductor.snapshot.status_text import SUPERVISE_DOWN, edges_text, status_lines

NOW = "2026-01-04T10:00:00.000Z"
SHA = "279d9035886d4c0427549863c4c2101e4a63e041"
SERVICE = "gocardless_app_production"
REPLICA = ReplicaSnapshot(
    id="3f2a" * 16, name=f"{SERVICE}-279d9035886d-c0fa6bdd-1", node="local", revision=SHA, endpoint="10.213.0.2:8080",
    state="running", created="2026-01-01T09:00:00.000Z", health=CheckOutcome.HEALTHY,
    started="2026-01-01T09:00:00.000Z", memory=210 * 2**20, memory_limit=2**29, routed=True,
)  # fmt: skip
ROW = ServiceSnapshot(
    service=SERVICE, revision=SHA, wanted=2, running=2, healthy=1, condition=ServiceCondition.UNHEALTHY,
    replicas=(REPLICA, msgspec.structs.replace(
        REPLICA, id="ab12" * 16, name=REPLICA.name[:-1] + "2", health=CheckOutcome.UNHEALTHY, answer="status 503",
        memory=None, started=None, routed=False,
    )),
    running_revisions=(SHA,), deployed="2026-01-01T09:00:10.000Z",
    last_change=LastChange(
        action="repair", outcome=Outcome.DONE, at="2026-01-04T09:55:00.000Z", who="root", seconds=4.21, from_=SHA, to=SHA,
        reason="2 wanted, 1 healthy, 1 exited",
    ),
    restarts=1, nginx=RouteSnapshot(state=TrafficState.RUNNING, endpoints=1, running=1), cron=CronSnapshot(jobs=12, failing=("bin/a", "bin/b")),
)  # fmt: skip


def lines(width: int = 80, **fields: Any) -> list[str]:
    service = msgspec.structs.replace(ROW, **fields)
    snapshot = HostSnapshot(time=NOW, supervise_running=True, nginx=TrafficState.RUNNING, services=(service,))
    return status_lines(snapshot, width)


def test_a_service_on_80_columns() -> None:
    assert lines() == [
        "gocardless_app_production  279d9035886d  1/2  1 of 2 healthy",
        "  deployed  3d ago",
        "  changed   5m ago: repair by root, done (took 4.21s): 2 wanted, 1 healthy, 1 exited",
        "  nginx     requests go to 1 replica",
        "  restarts  1 in the last hour, by supervise",
        "  cron      12 jobs, 2 failing (bin/a; bin/b): conductor cron list --id gocardless_app_production",
        "  CONTAINER     UP    MEMORY       NGINX  STATE",
        "  3f2a3f2a3f2a  3d1h  210/512 MiB  yes    healthy",
        "  ab12ab12ab12  ?     ?            no     unhealthy",
        "    status 503",
    ]


def test_the_nodes_and_edges_of_a_fleet() -> None:
    replicas = tuple(
        msgspec.structs.replace(one, node=node) for one, node in zip(ROW.replicas, ("h1", ""), strict=True)
    )
    edges = tuple(EdgeState(name=name, step="cutover", confirmed=True) for name in ("h1", "h2"))
    found = lines(replicas=replicas, edges=edges)
    assert found[4] == "  edges     h1, h2 confirmed"
    assert [line.split()[:2] for line in found[7:10]] == [
        ["CONTAINER", "NODE"],
        ["3f2a3f2a3f2a", "h1"],
        ["ab12ab12ab12", "-"],
    ]


@pytest.mark.parametrize(
    ("step", "states", "text"),
    [
        ("cutover", {"h1": True, "h2": False}, "h1 confirmed the cutover; h2 has not confirmed the cutover"),
        ("drain", {"h1": True, "h2": False}, "h1 confirmed the drain; h2 has not confirmed the drain"),
        ("cutover", {"h1": "no room"}, "h1 failed: no room"),
    ],
)
def test_edges_that_have_not_confirmed(step: RouteStep, states: dict[str, bool | str], text: str) -> None:
    edges = [
        EdgeState(name=name, step=step, confirmed=found is True, error=found if isinstance(found, str) else "")
        for name, found in states.items()
    ]
    assert edges_text(edges) == text


def test_the_first_line_says_that_supervise_is_not_running() -> None:
    snapshot = HostSnapshot(time=NOW, supervise_running=False, nginx=TrafficState.RUNNING, services=(ROW,))
    assert status_lines(snapshot, 80)[0] == SUPERVISE_DOWN
    assert status_lines(msgspec.structs.replace(snapshot, services=()), 80) == []


@pytest.mark.parametrize(
    ("width", "head"),
    [
        (79, ["CONTAINER", "UP", "MEMORY", "NGINX", "STATE"]),
        (90, ["REPLICA", "UP", "MEMORY", "NGINX", "STATE"]),
        (110, ["REPLICA", "ADDRESS", "UP", "MEMORY", "NGINX", "STATE"]),
        (130, ["REPLICA", "REVISION", "ADDRESS", "UP", "MEMORY", "NGINX", "STATE"]),
    ],
)
def test_a_wider_terminal_shows_more_columns(width: int, head: list[str]) -> None:
    table = lines(width)[6:9]
    assert table[0].split() == head
    assert max(map(len, table)) <= width


def test_short_names_fit_80_columns() -> None:
    replica = msgspec.structs.replace(REPLICA, name="web-279d9035886d-c0fa6bdd-1", started="2026-01-01T10:00:00.000Z")
    assert lines(replicas=(replica,))[-2].split()[:2] == ["REPLICA", "ADDRESS"]


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"running_revisions": ("r1", "r2")}, "  running   r1, r2"),
        ({"deployed": None}, "  deployed  unknown (not in the latest part of the history)"),
        ({"last_change": None}, "  changed   unknown (not in the latest part of the history)"),
        (
            {"last_change": LastChange(action="upgrade", outcome=Outcome.ROLLED_BACK, at=NOW, who="ada", from_="r1", to=SHA)},
            "  changed   0s ago: upgrade to 279d9035886d by ada, rolled back",
        ),
        (
            {"last_change": LastChange(action="restart", outcome=Outcome.RECOVERED_ROLLED_BACK, at=NOW)},
            "  changed   0s ago: restart, interrupted, then rolled back",
        ),
        ({"nginx": RouteSnapshot(state=TrafficState.DOWN, endpoints=2, running=2)}, "  nginx     not running"),
        (
            {"nginx": RouteSnapshot(state=TrafficState.NOT_LOADED, endpoints=2, running=2)},
            "  nginx     running without Conductor's files",
        ),
        (
            {"nginx": RouteSnapshot(state=TrafficState.NOT_ANSWERING, endpoints=2, running=2)},
            "  nginx     running, but not responding",
        ),
        ({"nginx": RouteSnapshot(state=TrafficState.RUNNING, endpoints=None, running=None)}, "  nginx     ?"),
        ({"nginx": RouteSnapshot(state=TrafficState.RUNNING, endpoints=0, running=0)}, "  nginx     returns 503"),
        ({"nginx": RouteSnapshot(state=TrafficState.RUNNING, endpoints=2, running=2)}, "  nginx     requests go to 2 replicas"),
        (
            {"nginx": RouteSnapshot(state=TrafficState.RUNNING, endpoints=1, running=1, cutover=Way.LIVE)},
            "  nginx     requests go to 1 replica, cutover live",
        ),
        (
            {"nginx": RouteSnapshot(state=TrafficState.RUNNING, endpoints=1, running=1, pending=True)},
            "  nginx     requests go to 1 replica, cutover reload until the next conductor nginx install",
        ),
        (
            {"nginx": RouteSnapshot(state=TrafficState.RUNNING, endpoints=1, running=0)},
            "  nginx     requests go to 1 address, but no replica is running there",
        ),
        (
            {"nginx": RouteSnapshot(state=TrafficState.RUNNING, endpoints=2, running=1)},
            "  nginx     requests go to 2 addresses, but only 1 replica is running there",
        ),
        (
            {"nginx": RouteSnapshot(state=TrafficState.RUNNING, endpoints=3, running=2)},
            "  nginx     requests go to 3 addresses, but only 2 replicas are running there",
        ),
        ({"cron": CronSnapshot(jobs=1, failing=())}, "  cron      1 job, none failing"),
        ({"notes": (notes.TrafficDown(),)}, f"  {notes.TrafficDown().text}"),
    ],
)  # fmt: skip
def test_other_facts(fields: dict[str, Any], line: str) -> None:
    assert line in lines(**fields)


def test_a_service_that_was_never_deployed_has_one_line() -> None:
    nothing: dict[str, Any] = {
        "revision": None, "replicas": (), "running_revisions": (), "deployed": None, "last_change": None, "nginx": None,
        "cron": None, "restarts": 0, "healthy": 0, "condition": ServiceCondition.NEVER_DEPLOYED,
    }  # fmt: skip
    assert lines(**nothing) == ["gocardless_app_production  -  0/2  never deployed"]


@pytest.mark.parametrize(
    ("fields", "cells"),
    [
        ({"state": "exited", "health": CheckOutcome.NOT_CHECKED, "memory": None, "started": None}, ["-", "-", "yes", "exited"]),
        ({"health": CheckOutcome.NOT_CHECKED, "routed": None}, ["3d1h", "210/512", "MiB", "-", "running"]),
        ({"memory_limit": None}, ["3d1h", "210", "MiB", "yes", "healthy"]),
    ],
)  # fmt: skip
def test_cells_of_a_replica(fields: dict[str, Any], cells: list[str]) -> None:
    assert lines(replicas=(msgspec.structs.replace(REPLICA, **fields),))[-1].split()[1:] == cells


@pytest.mark.parametrize(
    ("used", "limit", "text"),
    [
        (35 * 2**20, None, "35 MiB"),
        (2**20 * 210 + 1, 2**29, "210/512 MiB"),
        (900 * 2**20, 2**31, "0.9/2.0 GiB"),
        (3 * 2**30, None, "3.0 GiB"),
    ],
)
def test_memory(used: int, limit: int | None, text: str) -> None:
    assert memory_text(used, limit) == text
