"""nginx that is killed or broken in the middle of an upgrade, a pid file that names something else, and long-lived connections."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.host import TestHost, merged
from tests.support.odd_clients import EarlyBird
from tests.support.websocket import WebSocket

SLOW_START = merged(QUICK, {"env": {"BOOT": "1"}})
LONGEST_SECONDS = 3


@contextlib.contextmanager
def pid_file(host: TestHost, text: str) -> Iterator[None]:
    """The pid file has another text; it is that of nginx again afterwards."""
    before = host.nginx.pid_file.read_text()
    host.nginx.pid_file.write_text(text)
    try:
        yield
    finally:
        host.nginx.pid_file.write_text(before)


def gone() -> str:
    """Return the process id of a process that has ended."""
    ended = subprocess.Popen(["true"])
    ended.wait()
    return str(ended.pid)


STALE = {"empty": lambda: "", "of a process that has ended": gone}
MORE_STALE = {"a word": lambda: "nginx\n", "negative": lambda: "-1\n", "zero": lambda: "0\n", "long": lambda: "1" * 30}


@pytest.mark.parametrize("kind", [*STALE, *(pytest.param(kind, marks=pytest.mark.long) for kind in MORE_STALE)])
def test_a_stale_pid_file_is_refused_or_the_master_is_found_in_another_way(serving: TestHost, kind: str) -> None:
    """Whichever it is, the release that answers is the one that Conductor reports."""
    with pid_file(serving, {**STALE, **MORE_STALE}[kind]()):
        result = serving.upgrade("r2")
        if result.code:
            failed(result, 1, str(serving.nginx.pid_file))
        assert serving.get().revision == ("r1" if result.code else "r2")
    serving.upgrade("r1", check=True)
    nothing_left_behind(serving, "r1")


def test_a_pid_file_that_names_another_process_signals_nothing(serving: TestHost) -> None:
    """SIGHUP would end the other process."""
    with subprocess.Popen(["sleep", "600"]) as other:
        try:
            with pid_file(serving, f"{other.pid}\n"):
                result = serving.upgrade("r2")
                assert other.poll() is None
                assert serving.get().revision == ("r1" if result.code else "r2")
            serving.upgrade("r1", check=True)
            nothing_left_behind(serving, "r1")
            assert other.poll() is None
        finally:
            other.kill()


def kill_nginx(host: TestHost) -> None:
    """SIGKILL for the master and all workers, as by an operator who is in a hurry."""
    os.killpg(host.nginx.pid, signal.SIGKILL)


@pytest.mark.parametrize("step", ["gate", "cutover"])
def test_nginx_is_killed_during_an_upgrade(serving: TestHost, step: str) -> None:
    """One release serves after nginx has started again, and the next command leaves nothing."""
    serving.define({"web": SLOW_START}, host_extra={"nginx": {"announce": "3s"}})
    with contextlib.closing(EarlyBird(serving.url())):  # the announce lasts as long as a client is idle
        upgrade = serving.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
        serving.wait_for(lambda: f"{step}  " in upgrade.stderr, f"the step {step}")
        kill_nginx(serving)
        result = upgrade.wait(60)
    serving.nginx.stop()
    serving.nginx.start()
    failed(result, 1, "nginx")
    assert serving.get().revision in {"r1", "r2"}
    serving.define({"web": QUICK})
    serving.upgrade("r1", check=True)
    nothing_left_behind(serving, "r1")


def test_the_tree_breaks_during_an_upgrade(serving: TestHost) -> None:
    """After the check before the start: the candidate is checked again before it is in place."""
    serving.define({"web": SLOW_START})
    upgrade = serving.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    serving.wait_for(lambda: "gate  " in upgrade.stderr, "the gate")
    path = serving.nginx.add_server("broken", "server { listen }\n")
    try:
        failed(upgrade.wait(60), 1, str(path))
        assert (serving.get().revision, serving.revisions()) == ("r1", ["r1"])
    finally:
        path.unlink()
    serving.define({"web": QUICK})
    serving.upgrade("r1", check=True)
    nothing_left_behind(serving, "r1")


@pytest.mark.parametrize("upgrades", [3, pytest.param(20, marks=pytest.mark.long)])
def test_long_lived_connections_do_not_pile_up_workers(host: TestHost, upgrades: int) -> None:
    """Each upgrade finds 20 connections that stay; old workers end after the longest connection, and so do the connections."""
    web = merged(QUICK, {"nginx": {"drain": "1s", "server": {"websockets": True}}})
    extra = {"nginx": {"longest_connection": f"{LONGEST_SECONDS}s"}}
    host.define({"web": web}, host_extra=extra)
    host.conductor("nginx", "install", check=True)
    host.upgrade("r1", check=True)
    workers = 2
    with contextlib.ExitStack() as stack:
        for number in range(upgrades):
            sockets = [stack.enter_context(contextlib.closing(WebSocket(host.url()))) for _ in range(20)]
            assert all(one.echo(b"here") == b"here" for one in sockets)
            host.upgrade(f"r{2 + number % 2}", check=True)
            entry = host.history()[-1]
            seconds = sum(float(entry["steps"][step]) for step in ("cutover", "commit", "drain", "retire"))
            in_time = seconds < LONGEST_SECONDS  # else nginx may have ended some itself
            assert entry["cut"] == 20 or (not in_time and entry["cut"] < 20), entry
            assert len(host.nginx.workers()) <= workers * (2 + LONGEST_SECONDS)  # an upgrade takes a second and more
            assert host.revisions() == [f"r{2 + number % 2}"]
        host.wait_for(lambda: len(host.nginx.workers()) == workers, "the old workers to end", 60)
        assert all(one.echo(b"here") == b"" for one in sockets)
    nothing_left_behind(host, f"r{2 + (upgrades - 1) % 2}")
