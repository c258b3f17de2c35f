"""How `conductor supervise` ends: SIGKILL, SIGTERM and `--once`; and its notifications to systemd."""

import contextlib
import json
import random
import re
import signal
import socket
import subprocess
import time

import pytest

from tests.support.aftermath import nothing_left_behind, reservations
from tests.support.host import TestHost
from tests.support.supervised import Supervised, started_actions

SPACING_SECONDS = 5.0


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param([0.05, 0.3, 0.8], id="three"),
        pytest.param([random.uniform(0.0, 3.0) for _ in range(20)], id="twenty", marks=pytest.mark.long),
    ],
)
def test_it_is_killed_during_an_action(sup: Supervised, moments: list[float]) -> None:
    """At different points of a start and of a repair: the next `supervise` restores the count, and nothing is left over, except
    perhaps the temporary file of a write, which the next write of that file replaces."""
    taken = []
    for number, moment in enumerate(moments):
        spawned = sup.start()
        if number % 2:  # the commit of a command resets the delays of the rounds before
            sup.host.conductor("service", "restart", "--id", "web", check=True)
            sup.host.wait_for(lambda: "web" not in sup.status()["services"], f"no delay\n{sup.log}", 10)
        gone = sup.running()[0]
        if number % 2:
            sup.set_fault("500", gone)
        else:
            sup.host.kill(gone.id)
        sup.host.wait_for(sup.started, "an action", 12)
        time.sleep(moment)
        spawned.kill()
        began = time.monotonic()
        sup.start()
        if number % 2:  # its health has to be checked again, and the other one drains
            sup.host.wait_for(lambda gone=gone: gone.id not in {c.id for c in sup.running()}, "its replacement", 25)
        sup.wait_until_right(2, timeout=15)
        taken.append(f"{moment:.2f} ({time.monotonic() - began:.1f})")
        sup.clear_faults()
        assert sup.spawned is not None
        sup.spawned.signal(signal.SIGTERM)
        sup.spawned.wait(5)
        nothing_left_behind(sup.host, "r1", count=2, unfinished=True)
    sup.host.conductor("service", "restart", "--id", "web", check=True)
    nothing_left_behind(sup.host, "r1", count=2)
    print(
        f"killed so many seconds after the start of an action (seconds until the count was right): {', '.join(taken)}"
    )


def test_nginx_loads_its_files_when_supervise_starts(sup: Supervised) -> None:
    """A `supervise` that is killed between the write of a file and the reload leaves no journal."""
    host = sup.host
    upstream, own = (host.nginx.include_dir / name for name in ("web.conf", "_conductor.conf"))
    wanted = {path: path.read_text() for path in (upstream, own)}
    one = sup.running()[0].address
    upstream.write_text(re.sub(rf"^ +server {one}:.*\n", "", wanted[upstream], flags=re.MULTILINE))
    own.write_text(re.sub(r'return 200 "\w+ \$pid"', 'return 200 "another $pid"', wanted[own]))
    host.nginx.reload()

    def answering() -> set[str]:
        return {json.loads(host.get("/info").body)["hostname"] for _ in range(8)}

    host.wait_for(lambda: len(answering()) == 1, "nginx to route to one replica")
    for path, text in wanted.items():
        path.write_text(text)
    sup.start()
    host.wait_for(lambda: len(answering()) == 2, f"nginx to route to both replicas\n{sup.log}")
    assert sup.events.of("start") == []


def test_sigterm_ends_it_during_an_action(sup: Supervised) -> None:
    """It does not wait for the gate of the action, which would last 60 s."""
    host = sup.host
    host.define({"web": sup.service(health={"start_timeout": "60s"})})
    host.conductor("service", "restart", "--id", "web", check=True)
    began = time.time()
    spawned = sup.start()
    replicas = sup.running()
    host.wait_for(
        lambda: all(sum(at > began for at in sup.checks(one, began)) >= 2 for one in replicas), "each to be healthy"
    )
    sup.set_fault("silent")
    host.wait_for(sup.started, "an action", 15)
    host.wait_for(lambda: len(sup.running()) == 3, "a replacement at the gate")
    spawned.signal(signal.SIGTERM)
    assert spawned.wait(5).code == 0
    assert len(sup.running()) == 3
    sup.clear_faults()
    sup.start()
    sup.wait_until_right(2)
    assert reservations(host) == {}


def test_notifications_to_systemd(sup: Supervised) -> None:
    path = sup.host.directory / "notify.sock"
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(str(path))
        listening.settimeout(5)
        spawned = sup.start(env={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "800000", "JOURNAL_STREAM": "1:1"})
        received: list[str] = []

        def all_heard() -> bool:
            received.append(listening.recv(4096).decode())
            return "STATUS=1 service, 2 containers" in received and received.count("WATCHDOG=1") >= 2

        sup.host.wait_for(all_heard, "the status and two pings")
        assert received[0].startswith("READY=1\nSTATUS=")
        spawned.signal(signal.SIGTERM)
        assert spawned.wait(5).code == 0
        listening.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                received.append(listening.recv(4096).decode())
        assert received[-1] == "STOPPING=1"
    assert all(line.startswith(("<6>", "<4>")) for line in sup.log.splitlines())


def test_a_second_supervise_is_refused(sup: Supervised) -> None:
    spawned = sup.start()
    error = sup.host.conductor("supervise", "--once").expect(5).stderr
    assert f"process {spawned.pid} (supervise) has held it since" in error
    assert sup.status()["pid"] == spawned.pid


def test_once(sup: Supervised) -> None:
    host = sup.host

    def actions() -> list[str]:
        return started_actions(host.conductor("supervise", "--once", check=True).stderr)

    assert actions() == []
    host.daemon.api.remove_container(sup.running()[0].id, force=True)
    time.sleep(SPACING_SECONDS * 1.1)  # since the replicas were created
    assert actions() == ["repair"]
    unhealthy = sup.wait_until_right(2)[0]
    sup.set_fault("500", unhealthy)
    time.sleep(SPACING_SECONDS * 1.1)
    assert actions() == ["repair"]
    reason = host.history()[-1]["reason"]
    assert re.fullmatch(r"2 wanted, 1 healthy, 1 unhealthy; web-r1-\S+: status 500 .*on holiday.*", reason), reason
    assert unhealthy.id not in {c.id for c in sup.wait_until_right(2)}
    assert actions() == []
    host.define({"web": sup.service()}, host_extra={"docker": "unix:///nowhere.sock"})
    assert host.conductor("supervise", "--once").code == 1


def test_the_unit(host: TestHost) -> None:
    host.define({})
    unit = host.conductor("supervise", "--print-unit", check=True).stdout
    assert "Type=notify" in unit
    assert "Requires=" not in unit
    assert "BindsTo=" not in unit
    path = host.directory / "conductor-supervise.service"
    path.write_text(unit.replace("/usr/local/bin/conductor", "/bin/true"))
    with contextlib.suppress(FileNotFoundError):
        done = subprocess.run(["systemd-analyze", "verify", path], capture_output=True, text=True, check=False)
        assert str(path) not in done.stderr
