"""The drain waits for all requests that an old container has or may still get, and for nothing else."""

import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.aftermath import QUICK, nothing_left_behind
from tests.support.commands import Result, Spawned
from tests.support.host import TestHost, merged
from tests.support.load import EarlyBird, SlowUpload
from tests.support.own_server import install_own_server
from tests.support.websocket import WebSocket

pytestmark = pytest.mark.both_ways

UPLOAD_SECONDS = 6.0  # after the drain has begun


def begin(host: TestHost, revision: str, service: str = "web") -> Spawned:
    """An upgrade that has cut over already."""
    upgrade = host.spawn("service", "upgrade", "--id", service, "--revision", revision)
    host.wait_for(lambda: host.get(service=service).revision == revision, f"an answer of {revision}")
    return upgrade


def last_drain_seconds(host: TestHost) -> float:
    """How long the last change drained."""
    return float(host.history()[-1]["steps"]["drain"])


@pytest.mark.by_reload
def test_a_slow_upload_and_a_client_that_speaks_late_are_answered_by_the_old_release(host: TestHost) -> None:
    host.define({"web": merged(QUICK, {"nginx": {"drain": "40s"}})})
    host.upgrade("r1", check=True)
    with contextlib.closing(EarlyBird(host.url())) as early:
        upload = SlowUpload(host.url("web", "/upload"))
        upgrade = begin(host, "r2")
        host.wait_for(lambda: "   drain  " in upgrade.stderr, "the drain")
        upload.finish_after(UPLOAD_SECONDS)
        answer = early.send()
        assert (answer.status, answer.revision) == (200, "r1")
        assert upgrade.running()
        answer = upload.result()
        assert (answer.status, answer.revision) == (200, "r1")
        assert json.loads(answer.body)["received"] == 20000
    result = upgrade.wait(30).expect(0)
    assert "warning" not in result.stderr
    assert UPLOAD_SECONDS <= last_drain_seconds(host) < 30  # its deadline is 40 s
    nothing_left_behind(host, "r2")


@pytest.mark.parametrize("path", ["/slow?s=30", "/ws"])
def test_a_request_that_outlasts_the_drain_is_told_and_counted(host: TestHost, path: str) -> None:
    """Done, with a warning: exit code 0."""
    host.define({"web": merged(QUICK, {"nginx": {"drain": "2s", "server": {"websockets": True}}})})
    host.upgrade("r1", check=True)
    with ThreadPoolExecutor() as pool, contextlib.ExitStack() as stack:
        if path == "/ws":
            stack.enter_context(contextlib.closing(WebSocket(host.url())))
        else:
            answer = pool.submit(stack.enter_context(contextlib.closing(EarlyBird(host.url("web", path)))).send)
            time.sleep(0.2)
        result = host.upgrade("r2", check=True)
        if path != "/ws":
            assert answer.result(15).status == 502
    assert_deadline_told(host, result, "1 request was cut off, and 0 idle connections were still open")


@pytest.mark.by_reload
@pytest.mark.parametrize("own_block", [False, True], ids=["Conductor's block", "the operator's block"])
def test_a_client_that_never_speaks(host: TestHost, own_block: bool) -> None:
    """Conductor's own blocks end it within the drain (`client_header_timeout`); in others it is told apart from requests."""
    host.define(
        {"web": merged({"nginx": {"server": None}} if own_block else {}, merged(QUICK, {"nginx": {"drain": "2s"}}))}
    )
    if own_block:
        install_own_server(host)
    host.upgrade("r1", check=True)
    with contextlib.closing(EarlyBird(host.url())):
        result = host.upgrade("r2", check=True)
    if own_block:
        assert_deadline_told(host, result, "0 requests were cut off, and 1 idle connection was still open")
    else:
        assert "warning" not in result.stderr, str(result)
        nothing_left_behind(host, "r2")


def assert_deadline_told(host: TestHost, result: Result, counted: str) -> None:
    """One warning, counted; the old release is gone all the same."""
    assert f"warning: the drain reached its deadline of 2s: {counted}\n" in result.stderr, str(result)
    assert ", 1 warning)" in result.stderr
    assert host.history()[-1]["warnings"] == 1
    assert 2 <= last_drain_seconds(host) < 20  # the request takes 30 s
    nothing_left_behind(host, "r2")


@pytest.mark.by_reload
def test_a_websocket_of_another_service_holds_up_nobody_and_its_worker_keeps_the_old_addresses_from_reuse(
    host: TestHost,
) -> None:
    chat = merged(QUICK, {"nginx": {"drain": "8s", "server": {"websockets": True}}})
    host.define({"web": merged(QUICK, {"nginx": {"drain": "40s"}}), "chat": chat})
    host.upgrade("r1", "chat", check=True)
    host.upgrade("r1", check=True)
    with contextlib.closing(WebSocket(host.url("chat"))) as socket:
        retired: list[str] = []
        for revision in ("r2", "r3"):
            retired += addresses_of(host)
            result = host.upgrade(revision, check=True)
            assert "warning" not in result.stderr
            assert last_drain_seconds(host) < 30
            assert socket.echo(b"still here?") == b"still here?"
            assert set(retired) <= quarantined(host)
            assert not set(addresses_of(host)) & set(retired)
        assert len(set(retired)) == 2
    host.wait_for(lambda: len(host.nginx.workers()) == 2, "the old workers to end")
    host.upgrade("r4", check=True)
    assert not quarantined(host) & set(retired)
    nothing_left_behind(host, "r4")


def addresses_of(host: TestHost, service: str = "web") -> list[str]:
    """Return the endpoints of the service's containers, as nginx has them."""
    return [c.labels["conductor.address"] for c in host.containers(service)]


def quarantined(host: TestHost) -> set[str]:
    """Return the endpoints that running old workers may still use."""
    record = json.loads((host.state_dir / "traffic.json").read_text())
    return {endpoint for one in record["quarantine"] for endpoint in one["endpoints"]}


def test_unchanged_bytes_mean_no_reload(host: TestHost) -> None:
    host.define({"web": QUICK})
    host.conductor("nginx", "install", check=True)
    host.upgrade("r1", check=True)
    before, files = workers_now(host), mtimes(host)
    for _ in range(2):
        told = host.conductor("nginx", "install", check=True)
        assert "all files are up to date; nothing to do" in told.stderr
    assert workers_now(host) == before
    assert mtimes(host) == files


def workers_now(host: TestHost) -> set[int]:
    """The workers, once those of before the last reload have gone."""
    host.wait_for(lambda: len(host.nginx.workers()) == 2, "the old workers to end")
    return host.nginx.workers()


def mtimes(host: TestHost) -> dict[Path, int]:
    """When each file that nginx includes was written."""
    places = (host.nginx.include_dir, host.nginx.modules_dir)
    return {path: path.stat().st_mtime_ns for place in places for path in place.iterdir()}


@pytest.mark.by_reload
def test_the_live_healthy_release_is_left_alone_unless_forced(host: TestHost) -> None:
    host.define({"web": QUICK})
    host.upgrade("r1", check=True)
    before, ids, lines = workers_now(host), {c.id for c in host.containers()}, len(host.history())
    result = host.upgrade("r1", check=True)
    assert "web is already running r1 with 1 replica; nothing to do" in result.stderr
    assert "start " not in result.stderr
    assert (workers_now(host), {c.id for c in host.containers()}, len(host.history())) == (before, ids, lines)
    host.upgrade("r1", "web", "--force", check=True)
    nothing_left_behind(host, "r1")
    assert not {c.id for c in host.containers()} & ids
    assert not workers_now(host) & before
