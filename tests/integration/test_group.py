"""Three services of one app in one change: web behind nginx, a worker without nginx, and a clock that never runs twice."""

import random
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.commands import Result, Spawned
from tests.support.daemon import SOCKET
from tests.support.daemon_between import DaemonBetween, Trouble
from tests.support.host import TestHost, merged
from tests.support.spans import hook, overlaps, spans

pytestmark = pytest.mark.both_ways

IDS = ("web", "worker", "clock")
COUNTS = {"web": 2, "worker": 1, "clock": 1}
WORDS = [word for service in IDS for word in ("--id", service)]
GOOD = ("r2", "r3", "r4", "r5", "r6")
BROKEN = {"r7": ("clock", "exit"), "r8": ("worker", "never"), "r9": ("web", "500")}
STABLE = {"none": True, "stable_for": "500ms"}
LISTENS = ["grep", "-q", ":1F90 ", "/proc/net/tcp"]  # the app's port, 8080


def payments(host: TestHost, **more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the three definitions, with `more` merged over them. In each broken revision one service fails."""
    volume = host.directory / "volume"
    volume.mkdir(exist_ok=True)
    faults = {name: {f"FAULT_{r}": fault for r, (who, fault) in BROKEN.items() if who == name} for name in IDS}
    services: dict[str, dict[str, Any]] = {
        "web": merged(QUICK, {"count": COUNTS["web"], "env": faults["web"], "health": {"start_timeout": "10s"}}),
        "worker": {
            "count": COUNTS["worker"], "env": {"BOOT": "0.05", **faults["worker"]}, "port": None, "nginx": None,
            "health": {"path": None, "command": LISTENS, "start_timeout": "10s"},
        },
        "clock": {
            "count": 1, "order": "stop-first", "port": None, "nginx": None,
            "env": {"BOOT": "0", "CLOCK_LOG": "/volume/clock", **faults["clock"]},
            "health": {**dict.fromkeys(("path", "gate_interval", "timeout", "start_timeout")), **STABLE},
            "volumes": [f"{volume}:/volume"],
        },
    }  # fmt: skip
    return merged(services, more)


def begin(host: TestHost, revision: str, *more: str) -> Spawned:
    return host.spawn("service", "upgrade", *WORDS, "--revision", revision, *more)


def upgrade(host: TestHost, revision: str, *more: str) -> Result:
    return host.conductor("service", "upgrade", *WORDS, "--revision", revision, *more)


def all_at(host: TestHost, revision: str) -> None:
    """Check that all services are at this revision, that nothing is left of a change, and that two clocks never ran at once."""
    for service in IDS:
        nothing_left_behind(host, revision, service, count=COUNTS[service])
    latest = [(revision, False)]  # any other that still ran would overlap it
    host.wait_for(
        lambda: [(span.revision, span.ended) for span in spans(clock_log(host))[-1:]] == latest, "the clock to begin"
    )
    assert overlaps(spans(clock_log(host))) == []


def clock_log(host: TestHost) -> Path:
    return host.directory / "volume" / "clock"


def reloads(host: TestHost) -> int:
    return host.nginx.error_log.read_text().count("(SIGHUP) received")


def upgrades_under_load(host: TestHost, times: int) -> None:
    """Upgrade again and again. In every third upgrade one service fails."""
    host.define(payments(host))
    upgrade(host, "r1").expect(0)
    live = "r1"
    with host.load(busy=2, idle=18) as load:
        for n in range(1, times + 1):
            before = reloads(host)
            if n % 3:
                live = next(r for r in (*GOOD[n % 5 :], *GOOD) if r != live)
                told = upgrade(host, live).expect(0).stderr
                assert "warning" not in told, told
            else:
                revision = list(BROKEN)[n // 3 % 3]
                told = failed(upgrade(host, revision), 1, f": {BROKEN[revision][0]}-{revision}-")
                for service in IDS:
                    assert f"{service} is still running {live} with {COUNTS[service]} replica" in told
            assert reloads(host) - before == (1 if n % 3 and host.cutover == "reload" else 0), told
            all_at(host, live)
        counted = load.stop()
    print(counted)
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"
    assert set(counted.revisions) <= {"r1", *GOOD}


def test_upgrades_under_load(host: TestHost) -> None:
    upgrades_under_load(host, 6)


@pytest.mark.long
def test_twenty_upgrades_under_load(host: TestHost) -> None:
    upgrades_under_load(host, 20)


def test_an_unknown_id_among_them(host: TestHost) -> None:
    host.define(payments(host))
    upgrade(host, "r1").expect(0)
    before = {c.id for c in host.containers()}
    history = host.history()
    words = ("service", "upgrade", "--id", "web", "--id", "wroker", "--id", "clock", "--revision", "r2")
    failed(host.conductor(*words), 2, 'cannot find service "wroker": ', "did you mean worker?")
    assert {c.id for c in host.containers()} == before
    assert host.history() == history
    all_at(host, "r1")


def test_a_service_that_is_already_live_is_skipped(host: TestHost) -> None:
    host.define(payments(host))
    upgrade(host, "r1").expect(0)
    host.upgrade("r2", "worker", check=True)
    before = {c.id for c in host.containers("worker")}
    told = upgrade(host, "r2").expect(0).stderr
    assert "worker is already running r2 with 1 replica; nothing to do\n" in told
    assert {c.id for c in host.containers("worker")} == before
    assert [line["service"] for line in host.history() if line["to"] == "r2"] == ["worker", "web", "clock"]
    all_at(host, "r2")
    told = upgrade(host, "r2").expect(0).stderr
    assert told.count("nothing to do") == 3, told
    all_at(host, "r2")


def test_one_failure_rolls_back_all(host: TestHost) -> None:
    """The worker never becomes healthy: no new container of the others stays, and nginx is not reloaded."""
    host.define(payments(host))
    upgrade(host, "r1").expect(0)
    before, reloaded = {c.id for c in host.containers()}, reloads(host)
    clocks = len(spans(clock_log(host)))
    failed(
        upgrade(host, "r8"), 1,
        "cannot upgrade web, worker, clock: ", "worker-r8-", "not healthy after ", "grep exited with code 1",
        "web is still running r1 with 2 replicas", "worker is still running r1 with 1 replica\n", "clock is still running r1 with 1 replica\n",
    )  # fmt: skip
    assert {c.id for c in host.containers()} == before
    assert reloads(host) == reloaded
    assert len(spans(clock_log(host))) == clocks
    assert [(line["service"], line["outcome"]) for line in host.history()[-3:]] == [(s, "rolled-back") for s in IDS]
    all_at(host, "r1")


def killed_at_random(host: TestHost, times: int) -> None:
    """Kill an upgrade at a random moment, then run another one."""
    log = host.directory / "volume" / "hooks"
    migrate = {"before_upgrade": {"command": hook("/volume/hooks", 0.5)}, "volumes": [f"{log.parent}:/volume"]}
    host.define(payments(host, web=migrate))
    took = upgrade(host, "r1").expect(0).seconds
    chosen = random.Random(20)
    phases = []
    with host.load(busy=1, idle=9) as load:
        for n in range(times):
            revision, after = GOOD[2 * n % 5], GOOD[(2 * n + 1) % 5]
            killed = begin(host, revision)
            time.sleep(chosen.uniform(0.2, took * 1.2))
            said = killed.stderr
            killed.kill()
            phases.append(said.split("\n")[-2].split()[0] if "\n" in said else "nothing yet")
            print(upgrade(host, after).expect(0))
            all_at(host, after)
            assert overlaps(spans(log)) == []
            assert all(span.ended for span in spans(log))
        counted = load.stop()
    print(f"killed while: {phases}; {counted}")
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"


def test_killed_at_random_moments(host: TestHost) -> None:
    killed_at_random(host, 3)


@pytest.mark.long
def test_killed_at_fifty_random_moments(host: TestHost) -> None:
    killed_at_random(host, 50)


def test_ctrl_c_while_the_clock_is_swapped(host: TestHost) -> None:
    """The old clock was stopped already: it starts again once the new one is removed."""
    host.define(payments(host, clock={"health": {"stable_for": "5s"}}))
    upgrade(host, "r1").expect(0)
    (old,) = host.containers("clock")
    swapping = begin(host, "r2")
    host.wait_for(lambda: host.revisions("clock") == ["r2"], "the new clock")
    swapping.signal(signal.SIGINT)
    swapping.wait(30).expect(130)
    assert [c.id for c in host.containers("clock")] == [old.id]
    host.wait_for(lambda: not spans(clock_log(host))[-1].ended, "the old clock to start again")
    all_at(host, "r1")


def test_a_clock_that_cannot_be_stopped_again(host: TestHost) -> None:
    """The old one is not started beside it. The next command starts it, once the new one can be stopped."""
    with DaemonBetween(host.directory / "between.sock") as between:
        host.define(payments(host, clock={"health": {"stable_for": "5s"}}))
        host.upgrade("r1", "clock", check=True)
        (old,) = host.containers("clock")
        host.define_raw(host.config.read_text().replace(SOCKET, between.url))
        failing = host.spawn("service", "upgrade", "--id", "clock", "--revision", "r2")
        host.wait_for(lambda: host.revisions("clock") == ["r2"], "the new clock")
        between.trouble = (Trouble(r"POST .*/stop|DELETE "),)
        failing.signal(signal.SIGINT)
        failed(failing.wait(60), 1, "then the rollback failed")
        assert host.revisions("clock") == ["r2"]
        journal = host.journal("clock")
        assert journal is not None
        between.trouble = ()
        host.conductor("service", "start", "--id", "clock", check=True)
    assert [e["outcome"] for e in host.history() if e.get("change") == journal["change"]][-1] == "recovered-rolled-back"
    assert [(c.id, c.state) for c in host.containers("clock")] == [(old.id, "running")]
    assert overlaps(spans(clock_log(host))) == []


def test_two_commands_that_wait_after_a_change_of_all_was_killed(host: TestHost) -> None:
    """Either command recovers the change of all three. Both take the locks in the same order, so neither is refused."""
    host.define(payments(host))
    upgrade(host, "r1").expect(0)
    for n, revision in enumerate(("r2", "r3", "r4")):
        killed = begin(host, revision)
        host.wait_for(lambda: len(host.journal() or ()) and host.containers("worker")[1:], "new containers")
        killed.kill()
        after = GOOD[-1 - n % 2]
        words = ("--revision", after, "--wait", "60s")
        both = [host.spawn("service", "upgrade", "--id", one, *words) for one in ("web", "worker")]
        for one in both:
            one.wait(60).expect(0)
        host.upgrade(after, "clock", check=True)
        all_at(host, after)
