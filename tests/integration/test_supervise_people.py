"""`conductor supervise` together with people: upgrades, pauses, scales, a definitions file that is broken."""

import re
import signal
import time

import pytest

from tests.support.aftermath import nothing_left_behind
from tests.support.host import TestHost
from tests.support.load import Load
from tests.support.supervised import Supervised

SPACING_SECONDS = 5.0


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


def test_an_upgrade_gets_the_lock_while_a_replaced_one_takes_its_time_to_stop(sup: Supervised) -> None:
    """It waits for the end of that one, as its release has it, and then for those that it replaces itself."""
    host = sup.host

    def at_the_stop(action: str) -> bool:
        journal = host.journal() or {}
        return journal.get("action") == action and "drain" in journal["steps"]

    host.define({"web": sup.service(stop={"grace": "60s"}, env={"FAULT": "ignore-term"})})
    host.conductor("service", "restart", "--id", "web", check=True)
    sup.start()
    ill = sup.running()[0]
    sup.make("500", ill)
    host.wait_for(lambda: at_the_stop("supervise"), f"the stop\n{sup.said}", 20)
    time.sleep(0.5)
    upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    began = time.monotonic()
    host.wait_for(lambda: "finishing it first" in upgrade.stderr, f"the upgrade to begin\n{sup.said}", 10)
    assert time.monotonic() - began < 2.0 + 0.5  # of which Python takes the last to start
    host.daemon.api.kill(ill.id)
    host.wait_for(lambda: at_the_stop("upgrade"), "the upgrade to stop what it has replaced", 20)
    for container in sup.running():
        if container.revision == "r1":
            host.daemon.api.kill(container.id)
    assert upgrade.wait(20).code == 0, upgrade.stderr
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
    [
        "gate",
        "drain",
        *(pytest.param(step, marks=pytest.mark.long) for step in ("start", "cutover", "commit", "retire")),
    ],
)
def test_an_upgrade_is_killed(sup: Supervised, step: str) -> None:
    """Supervise begins to settle it within 5 s, ends that within drain and grace, and nothing is lost."""
    host = sup.host
    sup.start()
    with Load(host.url(path="/slow?s=0.3"), busy=8, idle=4) as load:
        upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
        host.wait_for(lambda: re.search(rf"^ *{step}  ", upgrade.stderr, re.MULTILINE), step)
        time.sleep(0.05)
        upgrade.kill()
        began = time.monotonic()
        journal = host.state_dir / "journal" / "web.json"
        assert journal.exists() or step == "retire"  # which may be over by now
        if journal.exists():
            host.wait_for(lambda: "a change died" in sup.said, "the settling", 8)
            assert time.monotonic() - began < SPACING_SECONDS + 1.0
            host.wait_for(lambda: not journal.exists(), f"its end within drain and grace\n{sup.said}", 5.0 + 1.0 + 1.0)
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
    host.wait_for(lambda: len(sup.running()) == 2, "the second one")
    assert time.monotonic() - began < 6.0
    sup.settled(2)
    host.conductor("supervise", "pause", "--id", "web", "--reason", "short", "--for", "2s", check=True)
    host.daemon.api.kill(sup.running()[0].id)
    time.sleep(1)
    assert len(sup.running()) == 1
    sup.settled(2, timeout=15)
    assert "paused" not in host.conductor("service", "status").stdout


def test_a_change_that_died_is_left_alone_when_one_of_it_is_paused(sup: Supervised) -> None:
    host = sup.host
    host.define({"web": sup.service(health={"start_timeout": "60s"}), "shop": sup.service(nginx=None)})
    host.conductor("service", "upgrade", "--id", "shop", "--revision", "r1", check=True)
    host.conductor("supervise", "pause", "--id", "shop", "--reason", "stocktaking", check=True)
    sup.start()
    sup.make("silent")
    upgrade = host.spawn("service", "upgrade", "--id", "web", "--id", "shop", "--revision", "r2")
    host.wait_for(lambda: len(sup.running()) == 4, "the gate")
    upgrade.kill()
    sup.heal()
    host.wait_for(lambda: "and shop is paused: left alone" in sup.said, f"its word\n{sup.said}", 10)
    sup.stays(lambda: len(sup.running()) == 4, SPACING_SECONDS + 2)
    host.conductor("supervise", "resume", "--id", "shop", check=True)
    sup.settled(2)
    nothing_left_behind(host, "r1", count=2)


def test_paused_in_the_middle_of_a_swap(sup: Supervised) -> None:
    """What was begun is ended first: while it is paused nobody would."""
    host = sup.host
    slow = sup.service(order="stop-first", count=1, env={"BOOT": "4"}, health={"start_timeout": "20s"})
    host.define({"web": slow})
    host.upgrade("r2", check=True)
    sup.start()
    (ill,) = sup.running()
    sup.make("500", ill)
    host.wait_for(lambda: (host.journal() or {}).get("stopped"), f"the swap\n{sup.said}", 30)
    host.wait_for(lambda: {c.id for c in sup.running()} - {ill.id}, "the new one", 20)
    sup.heal()
    host.conductor("supervise", "pause", "--id", "web", "--reason", "looking", check=True)
    assert host.journal() is None
    host.wait_for(lambda: host.get().status == 200, "the old one to be up again")


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
