"""`conductor supervise` on real containers and a real nginx: each way to be ill, each way to be in the way."""

import contextlib
import itertools
import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.support.aftermath import nothing_left_behind, reservations
from tests.support.daemon_between import DaemonBetween, Trouble
from tests.support.host import TestHost
from tests.support.images import APP
from tests.support.load import Load
from tests.support.supervised import Supervised

SPACING_SECONDS = 5.0


@pytest.fixture
def sup(host: TestHost) -> Iterator[Supervised]:
    """Two containers of `web` serve; `supervise` is not begun yet."""
    made = Supervised(host)
    try:
        host.define({"web": made.service()})
        host.upgrade("r1", check=True)
        yield made
    finally:
        if made.said:
            print(f"supervise said:\n{made.said}")
        made.end()


def gaps(moments: list[float]) -> list[float]:
    return [b - a for a, b in itertools.pairwise(moments)]


# Ill containers.


@pytest.mark.parametrize("fault", ["500", "hang", "silent"])
def test_one_of_two_is_ill(sup: Supervised, fault: str) -> None:
    """It leaves nginx, is replaced, and its replacement serves; nothing of it is left."""
    sup.start()
    ill, well = sup.running()
    sup.make(fault, ill)
    sup.host.wait_for(lambda: sup.served() == {well.address}, "the ill one to leave nginx", 10)
    after = sup.settled(2)
    assert ill.address not in {c.address for c in after}
    assert well.id in {c.id for c in after}
    assert len(sup.events.of("start")) == 1
    nothing_left_behind(sup.host, "r1", count=2)
    assert sup.said.count("healthy: acting") == 1
    line = sup.host.history()[-1]
    assert (line["action"], line["outcome"], line["count"]) == ("supervise", "done", 2)


def test_one_that_flaps_below_the_threshold_is_left_alone(sup: Supervised) -> None:
    sup.start()
    ill, well = sup.running()
    for _ in range(4):
        sup.make("500", ill)
        time.sleep(0.8)  # one or two checks
        sup.heal()
        time.sleep(0.7)
    assert {c.id for c in sup.running()} == {ill.id, well.id}
    assert "acting" not in sup.said


def test_all_are_ill_for_a_shared_cause(sup: Supervised) -> None:
    """They stay in nginx, and one at a time is tried anew; with the cause gone all is well again."""
    sup.start()
    before = sup.served()
    sup.make("500")
    sup.host.wait_for(lambda: "cannot supervise web" in sup.said, "a replacement to fail", 20)
    assert sup.served() == before
    assert max(len(sup.running()), 2) <= 3
    sup.heal()
    sup.host.wait_for(
        lambda: "services" in sup.notes() and not sup.notes()["services"].get("web", {}).get("until"), "peace", 20
    )
    assert sup.host.get().status == 200
    assert sup.settled(2)


def test_one_of_two_dies_under_load(sup: Supervised) -> None:
    """What it had is lost with it; once it has left nginx nothing is."""
    sup.start()
    dying, well = sup.running()
    with Load(sup.host.url(), busy=8, idle=8) as load:
        sup.host.daemon.api.kill(dying.id)
        sup.host.wait_for(lambda: sup.served() == {well.address}, "it to leave nginx", 10)
        time.sleep(0.7)  # until the last worker of before has stopped listening
        lost = load.so_far()["lost"]
        sup.settled(2)
        load.run_for(1.0)
        counted = load.stop()
    print(f"lost before it left nginx: {lost}, after: {counted.lost - lost}")
    assert counted.lost - lost == 0, f"{counted}\n{counted.told[:10]}"


# More or fewer than wanted.


def test_one_of_two_is_removed_by_hand(sup: Supervised) -> None:
    sup.start()
    (gone, stays) = sup.running()
    sup.host.daemon.api.remove_container(gone.id, force=True)
    after = sup.settled(2)
    assert stays.id in {c.id for c in after}
    sup.stays(lambda: len(sup.events.of("start")) == 1, 1.0)
    nothing_left_behind(sup.host, "r1", count=2)


def test_three_where_two_are_wanted(sup: Supervised) -> None:
    """The extra one has a request under way, and finishes it."""
    host = sup.host
    host.conductor("service", "scale", "--id", "web", "--count", "3", check=True)
    wanted = json.loads((host.state_dir / "services" / "web.json").read_text())
    with Load(host.url(path="/slow?s=1"), busy=9, idle=0) as load:
        (host.state_dir / "services" / "web.json").write_text(json.dumps({**wanted, "scale": None}))
        sup.start()
        sup.settled(2)
        counted = load.stop()
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"
    assert sup.events.of("start") == []


def test_what_is_not_ours_is_left_alone(sup: Supervised) -> None:
    host, api = sup.host, sup.host.daemon.api
    theirs = [
        api.create_container(f"{APP}:r1", ["sleep", "60"], labels=labels, name=f"{host.network}-{number}")["Id"]
        for number, labels in enumerate(({}, {"conductor.instance": f"{host.instance}x", "conductor.service": "web"}))
    ]
    try:
        api.start(theirs[0])
        sup.start()
        api.kill(sup.running()[0].id)
        sup.settled(2)
        assert [api.inspect_container(one)["State"]["Status"] for one in theirs] == ["running", "created"]
    finally:
        for one in theirs:
            api.remove_container(one, force=True)


# The daemon.


@pytest.fixture
def between(host: TestHost) -> Iterator[DaemonBetween]:
    with DaemonBetween(host.directory / "between.sock") as made:
        yield made


def test_a_daemon_that_answers_nothing_good(host: TestHost, between: DaemonBetween, sup: Supervised) -> None:
    """Unknown is not dead: nothing is done, it is said once; then what is missing is started, once."""
    host.define({"web": sup.service()}, host_extra={"docker": between.url})
    spawned = sup.start()
    between.trouble = (Trouble("."),)
    sup.host.daemon.api.kill(sup.running()[0].id)
    host.wait_for(lambda: sup.notes()["text"].startswith("waiting for Docker"), "the waiting", 12)
    assert host.conductor("supervise", "status", check=True).stdout.count("waiting for Docker: cannot list") == 1
    time.sleep(1.5)
    assert sup.said.count("waiting for Docker") == 1
    assert (sup.events.of("start"), spawned.running()) == ([], True)
    between.trouble = ()
    sup.settled(2)
    assert "Docker answers" in sup.said
    assert len(sup.events.of("start")) == 1


def test_after_a_reboot_the_same_containers_run_again(sup: Supervised) -> None:
    """At their own addresses, by `docker start`; also when one is bad afterwards it is the old story."""
    host = sup.host
    before = {(c.id, c.address) for c in sup.running()}
    for container in sup.running():
        host.daemon.api.kill(container.id)
    sup.start()
    after = sup.settled(2)
    assert {(c.id, c.address) for c in after} == before
    assert len(sup.events.of("start")) == 2
    assert sup.events.of("create") == []
    host.wait_for(lambda: host.get().status == 200, "it to answer")


# Killed, ended, told.


def test_it_is_killed_while_it_starts_a_replacement(sup: Supervised) -> None:
    """Several times, at different points: the count is right soon, and nothing is left over."""
    for number, moment in enumerate((0.05, 0.15, 0.3, 0.5, 0.8)):
        spawned = sup.start()
        sup.host.daemon.api.kill(sup.running()[number % 2].id)
        sup.host.wait_for(lambda: ": acting" in sup.said, "an action", 12)
        time.sleep(moment)
        spawned.kill()
        sup.start()
        sup.settled(2, timeout=15)
        assert sup.spawned is not None
        sup.spawned.signal(signal.SIGTERM)
        sup.spawned.wait(5)
        nothing_left_behind(sup.host, "r1", count=2)


def test_sigterm_ends_it_at_once_also_in_the_middle(sup: Supervised) -> None:
    host = sup.host
    spawned = sup.start()
    sup.make("silent")
    host.wait_for(lambda: ": acting" in sup.said, "an action", 15)
    host.wait_for(lambda: len(sup.running()) == 3, "a replacement at the gate", 5)
    began = time.monotonic()
    spawned.signal(signal.SIGTERM)
    assert spawned.wait(5).code == 0
    assert time.monotonic() - began < 1.5
    assert len(sup.running()) == 3
    sup.heal()
    sup.start()
    sup.settled(2)
    assert reservations(host) == {}


def test_systemd_is_told(sup: Supervised) -> None:
    path = sup.host.directory / "notify.sock"
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listening:
        listening.bind(str(path))
        listening.settimeout(5)
        spawned = sup.start(env={"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "800000", "JOURNAL_STREAM": "1:1"})
        said = [listening.recv(4096).decode() for _ in range(6)]
        assert said[0].startswith("READY=1\nSTATUS=")
        assert "STATUS=1 services, 2 containers" in said
        assert said.count("WATCHDOG=1") >= 2
        spawned.signal(signal.SIGTERM)
        assert spawned.wait(5).code == 0
        listening.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                said.append(listening.recv(4096).decode())
        assert said[-1] == "STOPPING=1"
    assert all(line.startswith(("<6>", "<4>")) for line in sup.said.splitlines())


def test_once(sup: Supervised) -> None:
    host = sup.host
    host.conductor("supervise", "--once", check=True)
    host.daemon.api.remove_container(sup.running()[0].id, force=True)
    time.sleep(SPACING_SECONDS * 1.1)  # since its containers were made
    assert "acting" in host.conductor("supervise", "--once", check=True).stderr
    sup.settled(2)
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
