"""Live upstreams with containers: what a reload cannot promise."""

import contextlib
import json
import os
import signal
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import pytest

from conductor.http import Connection
from conductor.traffic.peers import Peers, decoded, encoded
from tests.support.aftermath import QUICK, nothing_left_behind
from tests.support.host import TestHost, merged
from tests.support.images import REVISIONS
from tests.support.load import SlowUpload
from tests.support.supervised import Supervised
from tests.support.websocket import WebSocket

CUT = "the drain reached its deadline of 2s: 5 requests were cut off"
SETTLE_SECONDS = 0.3  # after the last upgrade, so that late answers of an old revision would show
CLASSES = {"busy": {"busy": 50, "idle": 0}} | {
    f"idle {seconds} s": {"busy": 0, "idle": 50, "idle_seconds": seconds} for seconds in (0.1, 1.0, 2.0)
}


@pytest.fixture(scope="module")
def cutover() -> str:
    return "live"


def reloads(host: TestHost) -> int:
    """Return how often nginx was reloaded since it started."""
    return host.nginx.error_log.read_text(errors="replace").count("(SIGHUP) received")


def peers_in_nginx(host: TestHost, service: str = "web") -> set[str]:
    """Return the endpoints that nginx's memory has."""
    documents = (line.removeprefix("peers ") for line in control(host).splitlines() if line.startswith("peers "))
    return {address for one in map(decoded, documents) if one and one.service == service for address in one.endpoints}


def control(host: TestHost, method: str = "GET", body: str = "") -> str:
    with Connection(str(host.runtime_dir / "nginx" / "private" / "status.sock"), 5) as connection:
        headers = {"Host": "x", "Content-Length": str(len(body))}
        assert connection.request(method, "/live", headers, body.encode()) == 200
        return connection.body().decode()


@pytest.mark.parametrize("upgrades", [1, pytest.param(10, marks=pytest.mark.long)])
def test_no_client_of_any_class_loses_a_request(host: TestHost, upgrades: int) -> None:
    """The app exits at once on SIGTERM. Nothing is announced, nothing is reloaded."""
    host.define({"web": {"nginx": {"drain": "2s", "server": {"websockets": True}}}})
    host.upgrade("r1", check=True)
    before, workers = reloads(host), host.nginx.workers()
    revisions = list(islice(cycle(REVISIONS), 1, upgrades + 1))
    gone: dict[str, float] = {}
    with contextlib.ExitStack() as stack:
        loads = {name: stack.enter_context(host.load(**clients)) for name, clients in CLASSES.items()}
        upload = stack.enter_context(contextlib.closing(SlowUpload(host.url("web", "/upload"))))
        upload.finish_after(20 if upgrades > 1 else 3)
        for revision in revisions:
            sockets = [stack.enter_context(contextlib.closing(WebSocket(host.url()))) for _ in range(5)]
            old = host.revisions()[0]
            upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", revision)
            host.wait_for(lambda r=revision: host.get().revision == r, f"an answer of {revision}")  # type: ignore[misc]
            heard = [one.echo(b"still here?") for one in sockets]
            assert heard == [b"still here?"] * 5 or CUT in upgrade.stderr  # only the deadline ends them
            assert CUT in upgrade.wait(30).expect(0).stderr
            gone[old] = time.time()
            gone.pop(revision, None)
        time.sleep(SETTLE_SECONDS)
        assert upload.result().status == 200
        results = {name: load.stop() for name, load in loads.items()}
    for name, result in results.items():
        print(name, result)
        assert result.lost == 0, f"{name}: {result}\n{result.told[:10]}"
        assert [r for r, at in gone.items() if r in result.revisions and result.revisions[r].asked > at] == []
    assert reloads(host) == before
    assert host.nginx.workers() <= workers  # none was started
    nothing_left_behind(host, revisions[-1], count=2)


@pytest.mark.long
def test_reloads_by_somebody_else_change_no_routing(host: TestHost) -> None:
    """A reload closes idle connections, which is a loss of its own kind; an answer of a retired release is none."""
    host.define({"web": {}})
    host.upgrade("r1", check=True)
    revisions = list(islice(cycle(REVISIONS), 1, 11))
    gone: dict[str, float] = {}
    with host.load(busy=50, idle=50) as load:
        for number, revision in enumerate(revisions):
            upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", revision)
            time.sleep(0.1 * (number * 7 % 10))  # anywhere in the upgrade
            host.nginx.reload()
            upgrade.wait(60).expect(0)
            gone[("r1", *revisions)[number]] = time.time()
            gone.pop(revision, None)
        time.sleep(SETTLE_SECONDS)
        result = load.stop()
    print(result)
    assert result.losses.keys() <= {"ended, reused connection"}, f"{result}\n{result.told[:10]}"
    assert [r for r, at in gone.items() if result.revisions[r].asked > at] == []
    nothing_left_behind(host, revisions[-1], count=2)


@pytest.mark.long
@pytest.mark.parametrize("part", ["worker", "master"])
def test_a_killed_nginx_does_not_hold_up_a_drain(host: TestHost, part: str) -> None:
    host.define({"web": merged(QUICK, {"nginx": {"drain": "20s", "server": {"websockets": True}}})})
    host.upgrade("r1", check=True)
    with contextlib.closing(WebSocket(host.url())):
        upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
        host.wait_for(lambda: host.get().revision == "r2", "an answer of r2")
        lines = [line.split() for line in control(host).splitlines()]
        [pid] = {int(words[1]) for words in lines if words[0] == "held" and words[5] != "0"}
        if part == "worker":
            os.kill(pid, signal.SIGKILL)
        else:
            os.killpg(host.nginx.pid, signal.SIGKILL)
            host.nginx.stop()
            for path in (host.runtime_dir / "nginx").rglob("*.sock"):
                path.unlink()
            host.nginx.start()
        result = upgrade.wait(30).expect(0)
    assert "warning" not in result.stderr
    assert float(host.history()[-1]["steps"]["drain"]) < 20
    nothing_left_behind(host, "r2")


@pytest.mark.parametrize("stage", [pytest.param("commit", marks=pytest.mark.long), "drain"])
def test_an_upgrade_that_was_killed_after_the_cutover_is_finished_by_the_next_command(
    host: TestHost, stage: str
) -> None:
    """The next command waits for the requests that the old replicas have."""
    host.define({"web": merged(QUICK, {"nginx": {"drain": "20s", "server": {"websockets": True}}})})
    host.upgrade("r1", check=True)
    with contextlib.closing(WebSocket(host.url())) as kept:
        upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
        host.wait_for(lambda: f" {stage}  done" in upgrade.stderr or "   drain  " in upgrade.stderr, stage)
        upgrade.kill()
        following = host.spawn("service", "upgrade", "--id", "web", "--revision", "r3")
        host.wait_for(lambda: ", was interrupted: finishing it" in following.stderr, "the recovery")
        assert kept.echo(b"still here?") == b"still here?"
        assert following.running()
    following.wait(30).expect(0)
    assert [(entry["to"], entry["outcome"]) for entry in host.history()[-2:]] == [("r2", "recovered"), ("r3", "done")]
    nothing_left_behind(host, "r3")


def test_supervise_corrects_nginx_and_takes_a_failing_replica_out(sup: Supervised) -> None:
    """Without a reload: neither a difference between file and memory nor a failing replica needs one."""
    host = sup.host
    sup.start()
    before, (one, two) = reloads(host), host.containers("web")
    first, second = (each.labels["conductor.address"] for each in (one, two))
    control(host, "POST", encoded(Peers("web", int(time.time() * 1000) + 1000, (first,))))
    host.wait_for(lambda: peers_in_nginx(host) == {first, second}, "both replicas to get requests again")
    sup.set_fault("500", two)
    host.wait_for(lambda: peers_in_nginx(host) == {first}, "the failing replica to be out")
    sup.set_fault("", two)
    host.wait_for(lambda: len(peers_in_nginx(host)) == 2, "two replicas to get requests")
    assert reloads(host) == before


@pytest.mark.long
def test_status_and_doctor_say_which_way_a_service_uses(host: TestHost) -> None:
    host.define({"web": QUICK}, host_extra={"nginx": {"cutover": "reload"}})
    host.upgrade("r1", check=True)
    host.define({"web": QUICK})

    def shown() -> tuple[str, bool]:
        nginx = json.loads(host.conductor("service", "status", "--json").stdout)["services"][0]["nginx"]
        return nginx["cutover"], nginx["pending"]

    def found() -> list[str]:
        findings: list[dict[str, Any]] = json.loads(host.conductor("doctor", "--json").stdout)["findings"]
        return [one["service"] for one in findings if one["check"] == "nginx-cutover"]

    assert (shown(), found()) == (("reload", True), ["web"])
    assert "until the next conductor nginx install" in host.conductor("service", "status").stdout
    host.conductor("nginx", "install", check=True)
    assert (shown(), found()) == (("live", False), [])
    assert "requests go to 1 replica, cutover live" in host.conductor("service", "status").stdout
    before = reloads(host)
    assert "nothing to do" in host.conductor("nginx", "install", check=True).stderr
    told = host.conductor("nginx", "show").stdout
    assert f"### {host.nginx.include_dir / 'conductor.lua'} (up to date)" in told
    host.upgrade("r2", check=True)
    assert reloads(host) == before
    nothing_left_behind(host, "r2")


@pytest.mark.long
def test_a_changed_server_block_is_reloaded_and_the_next_upgrade_is_not(host: TestHost) -> None:
    host.define({"web": QUICK})
    host.upgrade("r1", check=True)
    before = reloads(host)
    host.define({"web": merged(QUICK, {"nginx": {"server": {"body_limit": "2MiB"}}})})
    with host.load(busy=20, idle=0) as load:
        host.upgrade("r2", check=True)
        assert reloads(host) == before + 1
        host.upgrade("r3", check=True)
        assert reloads(host) == before + 1
        result = load.stop()
    assert result.lost == 0, f"{result}\n{result.told[:10]}"
    nothing_left_behind(host, "r3")


@pytest.mark.long
def test_the_file_of_a_service_is_what_a_restarted_nginx_serves(host: TestHost) -> None:
    host.define({"web": QUICK})
    host.upgrade("r1", check=True)
    host.upgrade("r2", check=True)
    path = Path(host.nginx.include_dir) / "web.conf"
    assert all(address in path.read_text() for address in peers_in_nginx(host))
    host.nginx.stop()
    host.nginx.start()
    assert host.get().revision == "r2"
    assert "nothing to do" in host.upgrade("r2").expect(0).stderr
    nothing_left_behind(host, "r2")
