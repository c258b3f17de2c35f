"""`conductor supervise` beside commands of operators: upgrades, pauses, scales, and an invalid definitions file."""

import json
import re
import signal
import time
from typing import Any

import pytest

from tests.support.aftermath import nothing_left_behind
from tests.support.host import TestHost
from tests.support.supervised import Supervised

SPACING_SECONDS = 5.0
DRAIN_SECONDS = 5.0  # the deadline in the definition of `Supervised`


def service_rows(host: TestHost) -> list[dict[str, Any]]:
    """Return the rows of `service status`."""
    rows: list[dict[str, Any]] = json.loads(host.conductor("service", "status", "--json", check=True).stdout)[
        "services"
    ]
    return rows


def test_supervise_yields_the_lock_to_an_upgrade_while_a_repair_waits_at_its_gate(sup: Supervised) -> None:
    """The gate would never pass. The upgrade rolls the repair back, and supervise does not act during the upgrade."""
    host = sup.host
    host.define({"web": sup.service(health={"start_timeout": "60s", "timeout": "20s"})})
    host.conductor("service", "restart", "--id", "web", check=True)
    sup.start()
    sup.set_fault("silent")
    before = {one.id for one in sup.running()}
    host.kill(sup.running()[0].id)

    def is_asked() -> bool:
        new = [one.id for one in sup.running() if one.id not in before]
        return bool(new) and b"asked" in host.daemon.api.logs(new[0])

    host.wait_for(is_asked, "a replacement that is asked, and does not answer", 30)
    sup.clear_faults()
    upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    host.wait_for(lambda: "the repair of web, which started at " in upgrade.stderr, "the upgrade to take the lock", 10)
    assert "was interrupted: rolling it back" in upgrade.stderr
    assert upgrade.wait(30).code == 0
    assert sup.has_yielded()
    sup.wait_until_right(2)
    nothing_left_behind(host, "r2", count=2)


def test_supervise_yields_the_lock_to_an_upgrade_while_a_replaced_replica_stops(sup: Supervised) -> None:
    """The upgrade finishes the repair: it waits until that replica has exited. Then it waits for those that it replaces."""
    host = sup.host

    def at_the_stop(action: str) -> bool:
        journal = host.journal() or {}
        return journal.get("action") == action and "drain" in journal["steps"]

    host.define({"web": sup.service(stop={"grace": "60s"}, env={"FAULT": "ignore-term"})})
    host.conductor("service", "restart", "--id", "web", check=True)
    sup.start()
    unhealthy = sup.running()[0]
    sup.set_fault("500", unhealthy)
    host.wait_for(lambda: at_the_stop("repair"), f"the repair to stop it\n{sup.log}", 20)
    time.sleep(0.5)
    upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    host.wait_for(
        lambda: "was interrupted: finishing it" in upgrade.stderr, f"the upgrade to take the lock\n{sup.log}", 10
    )
    host.kill(unhealthy.id)
    host.wait_for(lambda: at_the_stop("upgrade"), "the upgrade to stop the old replicas", 20)
    for container in sup.running():
        if container.revision == "r1":
            host.kill(container.id)
    assert upgrade.wait(20).code == 0, upgrade.stderr
    nothing_left_behind(host, "r2", count=2)


def test_supervise_does_not_act_during_an_upgrade(sup: Supervised) -> None:
    host = sup.host
    sup.start()
    host.define({"web": sup.service(env={"BOOT": "3"})})
    upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
    host.wait_for(lambda: len(sup.running()) == 4, "the gate")
    host.kill(next(c for c in sup.running() if c.revision == "r1").id)
    assert upgrade.wait(30).code == 0
    sup.wait_until_right(2)
    assert sup.started() == []
    nothing_left_behind(host, "r2", count=2)


@pytest.mark.parametrize(
    "step",
    [
        "gate",
        "drain",
        *(pytest.param(step, marks=pytest.mark.long) for step in ("start", "cutover", "commit", "retire")),
    ],
)
def test_supervise_recovers_a_killed_upgrade(sup: Supervised, step: str) -> None:
    """The drain ends within its deadline. No request is lost."""
    host = sup.host
    sup.start()
    with host.load(path="/slow?s=0.3", busy=8, idle=4) as load:
        upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
        host.wait_for(lambda: re.search(rf"^ *{step}  ", upgrade.stderr, re.MULTILINE), step)
        time.sleep(0.05)
        upgrade.kill()
        journal = host.state_dir / "journal" / "web.json"
        assert journal.exists() or step == "retire"  # which may be over by now
        if journal.exists():
            host.wait_for(lambda: "recover" in sup.started(), "the recovery", 8)
            host.wait_for(lambda: not journal.exists(), f"its end\n{sup.log}", 60)
        after = sup.wait_until_right(2)
        load.run_for(0.5)
        counted = load.stop()
    assert counted.lost == 0, f"{counted}\n{counted.told[:10]}"
    assert len({c.revision for c in after}) == 1
    (entry,) = (one for one in host.history() if one["action"] == "upgrade" and one["to"] == "r2")
    assert entry.get("steps", {}).get("drain", 0.0) < DRAIN_SECONDS + 1.0, entry
    nothing_left_behind(host, after[0].revision, count=2)


def test_supervise_rolls_a_killed_first_upgrade_back(host: TestHost) -> None:
    sup = Supervised(host)
    try:
        host.define({"web": sup.service(health={"start_timeout": "60s"})})
        sup.set_fault("silent")
        sup.start()
        upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", "r1")
        host.wait_for(lambda: len(sup.running()) == 2, "the gate")
        upgrade.kill()
        host.wait_for(
            lambda: host.containers("web") == [] and host.journal() is None,
            f"no container and no journal\n{sup.log}",
            15,
        )
    finally:
        sup.end()


def test_paused_and_resumed(sup: Supervised) -> None:
    host = sup.host
    host.conductor("supervise", "pause", "--id", "web", "--reason", "leap day", check=True, env={"SUDO_USER": "ada"})
    sup.start()
    host.kill(sup.running()[0].id)
    sup.holds_for(SPACING_SECONDS + 2, lambda: len(sup.running()) == 1)
    (row,) = service_rows(host)
    assert (row["paused"]["who"], row["paused"]["reason"]) == ("ada (as root)", "leap day")
    assert [note["hold"]["who"] for note in row["notes"] if note["kind"] == "paused"] == ["ada (as root)"]
    reason = sup.service_status()["reason"]
    assert (reason["condition"], reason["hold"]["who"], reason["hold"]["reason"]) == (
        "paused",
        "ada (as root)",
        "leap day",
    )
    for command in (("supervise", "status"), ("service", "status")):
        text = host.conductor(*command).stdout
        assert "paused by ada" in text, text
        assert "leap day" in text, text
    host.conductor("supervise", "resume", "--id", "web", check=True)
    sup.wait_until_right(2)
    host.conductor("supervise", "pause", "--id", "web", "--reason", "long", "--for", "1h", check=True)
    host.kill(sup.running()[0].id)
    sup.holds_for(1.0, lambda: len(sup.running()) == 1)
    host.conductor("supervise", "pause", "--id", "web", "--reason", "short", "--for", "2s", check=True)
    sup.wait_until_right(2, timeout=15)
    host.wait_for(lambda: service_rows(host)[0]["notes"] == [], "the end of the repair")
    assert service_rows(host)[0].get("paused") is None
    entries = [(line["action"], line["outcome"]) for line in host.history() if line["action"] in {"pause", "resume"}]
    assert entries == [("pause", "done"), ("resume", "done"), ("pause", "done"), ("pause", "done")]


def test_supervise_does_not_recover_a_change_with_a_paused_service(sup: Supervised) -> None:
    host = sup.host
    host.define({"web": sup.service(health={"start_timeout": "60s"}), "shop": sup.service(nginx=None)})
    host.conductor("service", "upgrade", "--id", "shop", "--revision", "r1", check=True)
    host.conductor("supervise", "pause", "--id", "shop", "--reason", "stocktaking", check=True)
    sup.start()
    sup.set_fault("silent")
    upgrade = host.spawn("service", "upgrade", "--id", "web", "--id", "shop", "--revision", "r2")
    host.wait_for(lambda: len(sup.running()) == 4, "the gate")
    upgrade.kill()
    sup.clear_faults()
    host.wait_for(lambda: "shop is paused" in sup.log, f"the reason\n{sup.log}", 10)
    sup.holds_for(SPACING_SECONDS + 2, lambda: len(sup.running()) == 4)
    host.conductor("supervise", "resume", "--id", "shop", check=True)
    sup.wait_until_right(2)
    nothing_left_behind(host, "r1", count=2)


def test_pause_first_recovers_an_interrupted_repair(sup: Supervised) -> None:
    """Supervise recovers nothing of a paused service."""
    host = sup.host
    slow = sup.service(order="stop-first", count=1, env={"BOOT": "4"}, health={"start_timeout": "20s"})
    host.define({"web": slow})
    host.upgrade("r2", check=True)
    sup.start()
    (unhealthy,) = sup.running()
    sup.set_fault("500", unhealthy)
    host.wait_for(lambda: (host.journal() or {}).get("old_stopped"), f"the repair to stop it\n{sup.log}", 30)
    host.wait_for(lambda: {c.id for c in sup.running()} - {unhealthy.id}, "the new replica", 20)
    sup.clear_faults()
    host.conductor("supervise", "pause", "--id", "web", "--reason", "looking", check=True)
    assert host.journal() is None
    host.wait_for(lambda: host.get().status == 200, "the old replica to answer again")


def test_stop_start_and_scale_while_supervise_runs(sup: Supervised) -> None:
    host = sup.host
    sup.start()
    host.conductor("service", "stop", "--id", "web", check=True)
    sup.holds_for(SPACING_SECONDS + 1.5, lambda: sup.running() == [])
    host.conductor("service", "start", "--id", "web", check=True)
    host.conductor("service", "scale", "--id", "web", "--count", "3", check=True)
    sup.wait_until_right(3)
    host.conductor("service", "scale", "--id", "web", "--reset", check=True)
    assert len(sup.wait_until_right(2)) == 2
    assert sup.started() == []


def test_invalid_definitions(sup: Supervised) -> None:
    """The last valid ones stay in force, which is logged once. Valid ones apply again, and so does their count."""
    host = sup.host
    spawned = sup.start()
    valid = host.config.read_text()
    host.define_raw("services: [")
    host.wait_for(lambda: sup.status().get("problem"), "the problem to be published", 5)
    time.sleep(2.5)
    assert sup.log.count("the last valid definitions stay in effect") == 1
    host.define_raw(valid)
    host.wait_for(lambda: "the definitions file is valid again" in sup.log, "the valid definitions", 5)
    host.wait_for(lambda: not sup.status()["problem"], "no problem to be published", 5)
    host.define_raw(valid.replace("port: 8080", "port: many"))
    host.wait_for(lambda: "services.web.port" in sup.status().get("problem", ""), "one invalid service", 5)
    assert "services.web.port" in host.conductor("supervise", "status").stdout
    host.define({"web": sup.service(count=3)})
    assert len(sup.wait_until_right(3)) == 3
    assert not sup.status()["problem"]
    spawned.signal(signal.SIGHUP)
    time.sleep(0.7)
    assert spawned.running()


def test_status_shows_when_the_next_action_is_due(sup: Supervised) -> None:
    host = sup.host
    assert "supervise is not running" in host.conductor("supervise", "status").expect(1).stdout
    assert json.loads(host.conductor("supervise", "status", "--json").expect(1).stdout) is None
    host.define({"web": sup.service(env={"FAULT_r2": "exit-later"}, count=1)})
    host.upgrade("r2", check=True)
    sup.start()
    reason = host.wait_for(lambda: (found := sup.service_status()).get("until") and found["reason"], "a delay", 20)
    assert (reason["condition"], reason["wanted"], reason["healthy"]) == ("mismatch", 1, 0)
    shown = re.compile(r"1 wanted, 0 healthy.*; next action at 20")  # no time is due while an action runs
    for command in (("supervise", "status"), ("service", "status", "--id", "web")):
        host.wait_for(lambda command=command: shown.search(host.conductor(*command).stdout), f"{command}", 20)
