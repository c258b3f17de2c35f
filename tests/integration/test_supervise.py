"""`conductor supervise` on real containers and a real nginx: each way to be ill, each way to be in the way."""

import contextlib
import itertools
import json
import re
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
from tests.support.supervised import Supervised, cpu_seconds

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


@pytest.mark.parametrize("fault", ["500", pytest.param("hang", marks=pytest.mark.long), "silent"])
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


# Together with people.


def test_an_upgrade_gets_the_lock_of_a_service_that_is_being_corrected(sup: Supervised) -> None:
    """In the middle of a gate that never passes; what was begun is undone, and supervise leaves the upgrade alone."""
    host = sup.host
    host.define({"web": sup.service(health={"start_timeout": "60s", "timeout": "20s"})})
    host.conductor("service", "restart", "--id", "web", check=True)
    sup.start()
    sup.make("silent")
    host.daemon.api.kill(sup.running()[0].id)
    host.wait_for(lambda: len(sup.running()) == 2, "a replacement at the gate", 15)
    time.sleep(0.5)
    sup.heal()
    upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    began = time.monotonic()
    host.wait_for(lambda: "the supervise of web (r1), begun" in upgrade.stderr, "the upgrade to begin", 10)
    assert time.monotonic() - began < 2.0 + 0.5  # of which Python takes the last to start
    assert upgrade.wait(30).code == 0
    assert "web: given up" in sup.said
    sup.settled(2)
    nothing_left_behind(host, "r2", count=2)


def test_an_upgrade_under_way_is_left_alone(sup: Supervised) -> None:
    host = sup.host
    sup.start()
    host.define({"web": sup.service(env={"BOOT": "3"})})
    upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    host.wait_for(lambda: len(sup.running()) == 4, "the gate")
    host.daemon.api.kill(next(c for c in sup.running() if c.revision == "r1").id)
    assert upgrade.wait(30).code == 0
    sup.settled(2)
    assert ": acting" not in sup.said
    nothing_left_behind(host, "r2", count=2)


@pytest.mark.parametrize(
    "step",
    [pytest.param("start", marks=pytest.mark.long), "gate", pytest.param("cutover", marks=pytest.mark.long), "drain"],
)
def test_an_upgrade_is_killed(sup: Supervised, step: str) -> None:
    """Supervise begins to settle it within 5 s, and nothing is lost."""
    host = sup.host
    sup.start()
    with Load(host.url(path="/slow?s=0.3"), busy=8, idle=4) as load:
        upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
        host.wait_for(lambda: re.search(rf"^ *{step}  ", upgrade.stderr, re.MULTILINE), step)
        time.sleep(0.05)
        upgrade.kill()
        began = time.monotonic()
        journal = host.state_dir / "journal" / "web.json"
        if journal.exists():
            host.wait_for(lambda: "a change died" in sup.said, "the settling", 8)
            assert time.monotonic() - began < SPACING_SECONDS + 1.0
        after = sup.settled(2)
        load.run_for(0.5)
        counted = load.stop()
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"
    assert len({c.revision for c in after}) == 1
    nothing_left_behind(host, after[0].revision, count=2)


def test_the_first_deployment_dies(host: TestHost) -> None:
    sup = Supervised(host)
    try:
        host.define({"web": sup.service(health={"start_timeout": "60s"})})
        sup.make("silent")
        sup.start()
        upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r1")
        host.wait_for(lambda: len(sup.running()) == 2, "the gate")
        upgrade.kill()
        host.wait_for(lambda: host.containers("web") == [] and host.journal() is None, f"nothing left\n{sup.said}", 15)
    finally:
        sup.end()


def test_paused_and_resumed(sup: Supervised) -> None:
    host = sup.host
    host.conductor("supervise", "pause", "--id", "web", "--reason", "leap day", check=True, env={"SUDO_USER": "ada"})
    sup.start()
    host.daemon.api.kill(sup.running()[0].id)
    sup.stays(lambda: len(sup.running()) == 1, SPACING_SECONDS + 2)
    for command in (("supervise", "status"), ("service", "status")):
        said = host.conductor(*command).stdout
        assert "paused by ada" in said, said
        assert "leap day" in said, said
    began = time.monotonic()
    host.conductor("supervise", "resume", "--id", "web", check=True)
    sup.settled(2)
    assert time.monotonic() - began < 6.0 + 2.0
    host.conductor("supervise", "pause", "--id", "web", "--reason", "short", "--for", "2s", check=True)
    host.daemon.api.kill(sup.running()[0].id)
    time.sleep(1)
    assert len(sup.running()) == 1
    sup.settled(2, timeout=15)
    assert "paused" not in host.conductor("service", "status").stdout


def test_stop_scale_and_start_while_it_runs(sup: Supervised) -> None:
    host = sup.host
    sup.start()
    host.conductor("service", "stop", "--id", "web", check=True)
    sup.stays(lambda: sup.running() == [], SPACING_SECONDS + 1.5)
    host.conductor("service", "start", "--id", "web", check=True)
    host.conductor("service", "scale", "--id", "web", "--count", "3", check=True)
    sup.settled(3)
    host.conductor("service", "scale", "--id", "web", "--reset", check=True)
    assert len(sup.settled(2)) == 2
    assert ": acting" not in sup.said


def test_broken_definitions(sup: Supervised) -> None:
    """The last good ones stay in force, said once; mended they are followed, and so is the count."""
    host = sup.host
    spawned = sup.start()
    good = host.config.read_text()
    host.define_raw("services: [")
    host.wait_for(lambda: sup.notes().get("problem"), "the problem to be noted", 5)
    time.sleep(2.5)
    assert sup.said.count("the last good definitions stay in force") == 1
    host.define_raw(good)
    host.wait_for(lambda: "the definitions are good again" in sup.said, "the mending", 5)
    host.define_raw(good.replace("port: 8080", "port: many"))
    host.wait_for(lambda: "services.web.port" in sup.notes().get("problem", ""), "one broken service", 5)
    assert "services.web.port" in host.conductor("supervise", "status").stdout
    host.define({"web": sup.service(count=3)})
    assert len(sup.settled(3)) == 3
    assert not sup.notes()["problem"]
    spawned.signal(signal.SIGHUP)
    time.sleep(0.7)
    assert spawned.running()


def test_status_says_what_it_waits_for(sup: Supervised) -> None:
    host = sup.host
    assert "supervise does not run" in host.conductor("supervise", "status").stdout
    host.define({"web": sup.service(env={"FAULT_r2": "exit-later"}, count=1)})
    host.upgrade("r2", check=True)
    sup.start()
    host.wait_for(lambda: sup.notes()["services"].get("web", {}).get("until"), "a delay", 20)
    for command in (("supervise", "status"), ("service", "status", "--id", "web")):
        assert re.search(r"0 of 1 run and are healthy.*next at 20", host.conductor(*command).stdout), command


# Noise.


def test_many_events_are_few_looks(sup: Supervised) -> None:
    host = sup.host
    with DaemonBetween(host.directory / "counting.sock") as between:
        host.define({"web": sup.service()}, host_extra={"docker": between.url})
        spawned = sup.start()
        time.sleep(1)
        labels = {"conductor.instance": host.instance, "conductor.service": "web", "conductor.kind": "service"}
        noise = host.daemon.api.create_container(f"{APP}:r1", ["true"], labels={**labels, "conductor.service": "other"})
        between.calls.clear()
        before, began, events = cpu_seconds(spawned.pid), time.monotonic(), 0
        while time.monotonic() < began + 6:
            host.daemon.api.start(noise["Id"])
            host.daemon.api.wait(noise["Id"])
            events += 2
        took = time.monotonic() - began
        used = cpu_seconds(spawned.pid) - before
    asked = [call for call in between.calls if "/containers/json" in call]
    print(f"{events} events in {took:.1f} s: {len(asked)} list calls, {used / took:.1%} of a core")
    assert len(asked) <= 3 * took + 3


# What takes minutes.


@pytest.mark.long
def test_exits_at_once_for_three_minutes(sup: Supervised) -> None:
    """Starts at least 5 s and at most about a minute apart, with no end; mended, it is back within one delay."""
    host = sup.host
    host.define({"web": sup.service(count=1, env={"FAULT_r2": "exit-later"})})
    host.upgrade("r2", check=True)
    sup.start()
    time.sleep(200)
    starts = sup.events.of("start")
    assert len(starts) >= 5
    assert min(gaps(starts)) >= SPACING_SECONDS
    assert max(gaps(starts)) <= 66 + 5
    assert sup.said.count("acting") <= len(starts) + 1


@pytest.mark.long
def test_a_daemon_that_hangs(host: TestHost, between: DaemonBetween, sup: Supervised) -> None:
    """Nothing is done twice, others' checks go on, and systemd hears from us."""
    host.define({"web": sup.service()}, host_extra={"docker": between.url})
    spawned = sup.start()
    between.hang.clear()
    host.daemon.api.kill(sup.running()[0].id)
    time.sleep(75)
    assert spawned.running()
    assert sup.events.of("start") == []
    between.hang.set()
    sup.settled(2, timeout=90)
    assert len(sup.events.of("start")) == 1


@pytest.mark.long
def test_tasks_that_were_left_behind_are_reaped(sup: Supervised) -> None:
    host = sup.host
    run = host.spawn("run", "--id", "web", "sleep", "2")
    host.wait_for(lambda: [c for c in host.containers("web") if c.kind == "task"], "the task")
    run.kill()
    sup.start()
    host.wait_for(lambda: not [c for c in host.containers("web") if c.kind == "task"], "its removal", 200)
    sup.settled(2)
