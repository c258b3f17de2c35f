"""What `supervise` notifies about the health of a service: each condition once, over restarts and reboots."""

from typing import Any

import msgspec
import pytest

from conductor.change import actions
from conductor.errors import ConductorError, LockYielded
from conductor.plan.history import Outcome
from conductor.plan.notification import BACKING_OFF_ATTEMPTS, HEALED_SECONDS
from conductor.plan.reconcile import Condition
from conductor.plan.release import Hold
from conductor.plan.replica import CheckResult
from conductor.supervise import health_notifications
from tests.fakes.world import WEB

SECRET = "hunter2-of-the-app"


def events(host: Any) -> list[str]:
    return [one.event for one in host.notifications]


def run_passes(host: Any, seconds: float) -> None:
    """Run a pass every five seconds of the clock."""
    until = host.clock.monotonic() + seconds
    while host.clock.monotonic() < until:
        host.run_pass()
        host.clock.advance(5.0)


def exit_one(host: Any) -> None:
    host.runtime.exit(next(one.id for one in host.replicas() if one.running))


def make_unhealthy(host: Any) -> None:
    """Make every replica unhealthy, now and after each repair, which fails."""
    host.health.unhealthy.add("r1")
    host.health.failure_seconds = 100.0  # longer than start_timeout: the gate ends after one check
    for one in host.replicas():
        host.monitor.conditions[one.id] = Condition.UNHEALTHY


def make_healthy(host: Any) -> None:
    host.health.unhealthy.clear()
    host.monitor.conditions.clear()


def test_a_healthy_service_is_not_reported(host: Any) -> None:
    run_passes(host, HEALED_SECONDS + 10.0)
    assert host.notifications == []
    assert host.records.reported() == {}


def test_an_exited_replica_is_reported_once_and_healed_once(host: Any) -> None:
    exit_one(host)
    run_passes(host, HEALED_SECONDS - 5.0)
    assert events(host) == ["unhealthy"]
    run_passes(host, 60.0)
    assert events(host) == ["unhealthy", "healed"]
    unhealthy, healed = host.notifications
    assert (unhealthy.wanted, unhealthy.healthy) == (2, 1)
    assert unhealthy.reason == "2 wanted, 1 healthy, 1 exited"
    assert (healed.wanted, healed.healthy, healed.reason) == (2, 2, None)
    assert HEALED_SECONDS <= healed.duration < HEALED_SECONDS + 10.0
    assert host.records.reported() == {}


def test_a_repair_that_keeps_failing_is_reported_once(host: Any) -> None:
    make_unhealthy(host)
    run_passes(host, 900.0)
    assert events(host) == ["unhealthy", "backing-off"]
    assert host.notifications[1].reason == f"2 wanted, 0 healthy, 2 unhealthy, {BACKING_OFF_ATTEMPTS} attempts"
    make_healthy(host)
    run_passes(host, HEALED_SECONDS + 10.0)
    assert events(host) == ["unhealthy", "backing-off", "healed"]


def test_a_recovery_that_keeps_failing_is_reported_once(host: Any) -> None:
    host.traffic.fail("switch", error=LockYielded(), at="recorded")
    with pytest.raises(LockYielded):
        host.upgrade("r2")
    host.traffic.running = False
    run_passes(host, 300.0)
    assert events(host) == ["backing-off"]
    assert host.notifications[0].reason == f"a change was interrupted, {BACKING_OFF_ATTEMPTS} attempts"


def test_what_began_without_notify_is_reported_once_it_is_configured(host: Any) -> None:
    host.notify_configured = False
    make_unhealthy(host)
    run_passes(host, 10.0)
    assert (events(host), host.records.reported()) == ([], {})
    host.notify_configured = True
    run_passes(host, 10.0)
    assert events(host) == ["unhealthy"]


def test_flapping_is_one_notification(host: Any) -> None:
    """Each repair succeeds, and a replica exits again before the service counts as healed."""
    for _ in range(5):
        exit_one(host)
        run_passes(host, HEALED_SECONDS / 2)
    assert events(host) == ["unhealthy"]
    run_passes(host, HEALED_SECONDS)
    assert events(host) == ["unhealthy", "healed"]


def test_a_restart_of_supervise_reports_nothing_again(host: Any) -> None:
    make_unhealthy(host)
    run_passes(host, 60.0)
    reported = list(host.notifications)
    for _ in range(3):
        host.supervise()
        run_passes(host, 60.0)
    assert host.notifications == reported
    make_healthy(host)
    host.supervise()
    run_passes(host, HEALED_SECONDS + 70.0)
    assert events(host)[len(reported) :] == ["healed"]
    assert host.notifications[-1].duration > HEALED_SECONDS + 180.0  # since it was reported first


def reboot(host: Any) -> None:
    host.runtime.restart_host()
    host.boot = "second boot"
    host.runtime_state.may_have_restarted = True
    host.supervise()


def test_after_a_reboot_only_conditions_that_still_hold_are_reported_again(host: Any) -> None:
    exit_one(host)
    run_passes(host, 10.0)
    reboot(host)
    run_passes(host, 60.0)
    assert events(host) == ["unhealthy"]
    make_unhealthy(host)
    run_passes(host, 10.0)
    assert events(host)[:2] == ["unhealthy", "unhealthy"]
    host.supervise()
    host.run_pass()
    assert events(host).count("unhealthy") == 2
    make_healthy(host)
    run_passes(host, HEALED_SECONDS + 70.0)
    assert events(host).count("healed") == 1


def test_replicas_that_a_reboot_stopped_are_not_unhealthy(host: Any) -> None:
    reboot(host)
    run_passes(host, 60.0)
    assert host.notifications == []


def test_a_service_that_is_healthy_after_a_reboot_is_healed(host: Any) -> None:
    exit_one(host)
    host.run_pass()
    reboot(host)
    run_passes(host, HEALED_SECONDS + 30.0)
    assert events(host) == ["unhealthy", "healed"]


def test_nothing_is_reported_about_a_paused_service(host: Any) -> None:
    hold = Hold(reason="debugging", who="ada", since="2024-01-01T00:00:00.000Z")
    host.store.write_wanted(msgspec.structs.replace(host.store.wanted("web"), paused=hold))
    exit_one(host)
    run_passes(host, HEALED_SECONDS + 10.0)
    assert host.notifications == []
    host.store.write_wanted(msgspec.structs.replace(host.store.wanted("web"), paused=None))
    host.run_pass()
    assert events(host) == ["unhealthy"]


def test_a_stopped_service_is_not_healed(host: Any) -> None:
    exit_one(host)
    host.run_pass()
    host.perform(actions.stop("maintenance"))
    run_passes(host, HEALED_SECONDS + 10.0)
    assert events(host) == ["unhealthy"]
    assert host.records.reported() == {}


def test_missing_replicas_are_not_unhealthy(host: Any) -> None:
    """The count is raised in the file, and an operator removes a container."""
    host.define({"web": {**WEB, "count": 3}})
    host.runtime.remove(host.replicas()[0].id)
    run_passes(host, 30.0)
    assert host.running() == {"r1": 3}
    assert host.notifications == []


def test_an_upgrade_reports_nothing_about_health(host: Any) -> None:
    host.upgrade("r2")
    run_passes(host, 30.0)
    assert host.notifications == []


def test_a_condition_that_cannot_be_stored_is_reported_once(host: Any) -> None:
    def full(*_: object) -> None:
        raise ConductorError("cannot write reported.json: no space left on device")

    host.records.write_reported = full
    make_unhealthy(host)
    run_passes(host, 600.0)
    assert events(host) == ["unhealthy", "backing-off"]
    assert [line for line in host.lines if line.startswith(health_notifications.SUBJECT)] == [
        f"{health_notifications.SUBJECT}: cannot write reported.json: no space left on device",
        f"{health_notifications.SUBJECT}: failed 2 times: cannot write reported.json: no space left on device",
    ]


def test_a_damaged_file_is_reported_and_replaced(host: Any) -> None:
    path = host.directory / "state" / "reported.json"
    path.write_text("{")
    host.supervise()
    assert any("reported.json: it is damaged" in line for line in host.lines)
    host.run_pass()
    exit_one(host)
    host.run_pass()
    assert set(host.records.reported()) == {"web"}


def test_the_answer_to_a_check_is_reported_without_secrets(host: Any) -> None:
    (host.directory / "password").write_text(SECRET)
    env = {"PASSWORD": {"file": str(host.directory / "password")}}
    host.define({"web": {**WEB, "env": env}})
    host.upgrade("r2")
    host.run_pass()
    target = host.monitor.targets[0]
    host.health.answers[target.replica.id] = CheckResult(ok=False, seconds=0.0, status=500, output=f"pw {SECRET}")
    answer = host.health.check(target.replica, target.health, target.redact)  # as the monitor does
    host.monitor.answers[target.replica.id] = answer.output
    host.monitor.conditions[target.replica.id] = Condition.UNHEALTHY
    host.run_pass()
    reason = f"2 wanted, 1 healthy, 1 unhealthy; {target.replica.name}: pw [secret]"
    assert [one.reason for one in host.notifications] == [reason]


def test_changes_that_supervise_ends_are_reported_and_repairs_are_not(host: Any) -> None:
    host.traffic.fail("switch", error=LockYielded(), at="recorded")
    with pytest.raises(LockYielded):
        host.upgrade("r2")
    exit_one(host)
    run_passes(host, 30.0)
    assert [(one.event, one.action, one.outcome) for one in host.notifications if one.action] == [
        ("interrupted", "upgrade", Outcome.RECOVERED_ROLLED_BACK)
    ]
    assert "repair" in {entry.action for entry in host.history()}


def test_the_repair_begins_before_the_record_is_written(host: Any) -> None:
    """The disk may be slow, and a bug in a notification must not delay the supervision."""

    def fail(_reported: object) -> None:
        raise RuntimeError

    host.records.write_reported = fail
    exit_one(host)
    host.run_pass()
    assert host.running() == {"r1": 2}
    assert any("health notifications: this is a bug" in line for line in host.lines)
