"""Checks of the services, each found and not found."""

import msgspec
import pytest

from conductor.change import actions
from conductor.change.crontab import wrapped
from conductor.change.pause import resume
from conductor.cron.installed import job_key
from conductor.doctor.finding import Severity
from conductor.doctor.services import routes
from conductor.errors import LockYielded
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.journal import Journal
from conductor.plan.reason import AsWanted, Mismatch
from conductor.plan.release import Hold, Retiring
from conductor.plan.tasks import JobResult
from conductor.state.files import write
from conductor.state.history import History
from conductor.state.supervisor_status import ServiceStatus, SupervisorStatus, status_path
from tests.fakes.world import WEB, WORKER
from tests.unit.doctor.conftest import HostUnderTest, Row, causes_its_finding

ERROR, WARNING, INFO = Severity
DAY = 86400.0
COMMAND = "bin/report"


def hold(host: HostUnderTest, **fields: str) -> Hold:
    return Hold(reason="debugging", who="anna", since=host.world.clock.now(), **fields)


def pause(host: HostUnderTest, seconds: float, **fields: str) -> None:
    """Pause `web`, and let time pass."""
    host.change_wanted(paused=hold(host, **fields))
    host.world.clock.advance(seconds)


def maintain(host: HostUnderTest, seconds: float) -> None:
    host.world.perform(actions.maintenance_on("Back at noon."))
    host.world.clock.advance(seconds)


def interrupt(host: HostUnderTest) -> None:
    wanted = host.wanted()
    journal = Journal(
        change="x1", service="web", action="upgrade", command="c", who="anna", began=host.world.clock.now(),
        old=wanted, new=wanted,
    )  # fmt: skip
    host.world.store.write_journal(journal)


@pytest.mark.parametrize("together", [("web",), ("web", "worker")])
def test_an_interrupted_change_of_a_paused_service_is_recovered_by_its_resume(
    host: HostUnderTest, together: tuple[str, ...]
) -> None:
    """`supervise` does not recover it, also when only another service of the change is paused."""
    world, paused = host.world, together[-1]
    world.traffic.fail("drain", error=LockYielded())
    with pytest.raises(LockYielded):
        world.upgrade("r2", *together)
    wanted = world.store.wanted(paused)
    world.store.write_wanted(msgspec.structs.replace(wanted, paused=hold(host)))
    fixes = {one.service: one.fix for one in host.report().findings if one.check == "interrupted-change"}
    command = f"conductor supervise resume --id {paused}"
    assert {service: fix.partition("   ")[0] for service, fix in fixes.items()} == dict.fromkeys(together, command)
    resume(world.context(), paused, 0.0)
    assert world.store.in_progress() == ()
    assert world.running(paused) == {"r2": 2 if paused == "web" else 1}


def with_unknown_key(host: HostUnderTest) -> None:
    live = host.wanted().live
    host.change_wanted(release=msgspec.structs.replace(live, definition={**live.definition, "newer": 1}))


def back_off(host: HostUnderTest) -> None:
    reason, due = Mismatch(wanted=2, healthy=1), host.world.clock.later(60)
    publish(host, ServiceStatus(reason=reason, text="1 of 2", until=due, attempts=1))


def publish(host: HostUnderTest, web: ServiceStatus) -> None:
    holder = host.world.context().locks.holder("supervise.loop")
    assert holder is not None
    status = SupervisorStatus(pid=holder.pid, since="2026-01-01T00:00:00Z", text="x", services={"web": web})
    write(status_path(host.host.runtime_dir), status)


def change_a_secret_file(host: HostUnderTest) -> None:
    secret = host.write("secret", "before")
    host.define({"web": {**WEB, "env": {"KEY": {"file": str(secret)}}}, "worker": WORKER})
    host.world.upgrade("r1", "web")
    assert host.report().findings == ()
    host.write("secret", "after")


def stop_worker_replica(host: HostUnderTest) -> None:
    (replica,) = host.world.replicas("worker")
    host.world.runtime.stop(replica.id, 0.0)


def make_unhealthy(host: HostUnderTest) -> None:
    host.world.health.unhealthy.add(host.world.replicas("web")[0].id)


def lose_a_replica_of_web(host: HostUnderTest) -> None:
    host.world.runtime.vanish(host.world.replicas("web")[0].id)


def leave_out_a_replica(host: HostUnderTest) -> None:
    routes = host.world.traffic.routes
    routes["web"] = routes["web"][:1]


def lose_the_kept_image(host: HostUnderTest) -> None:
    world = host.world
    world.upgrade("r2", "web")
    kept = host.wanted().kept[0]
    kept = msgspec.structs.replace(kept, image_id="sha256:gone")
    host.change_wanted(kept=(kept,))


def replace(host: HostUnderTest, times: int) -> None:
    """Record so many repairs of `web`, the latest with a reason."""
    for number in range(times):
        host.world.clock.advance(60)
        entry = HistoryEntry(
            at=host.world.clock.now(), service="web", action="repair", outcome=Outcome.DONE, who="root",
            command="supervise", reason=f"repair {number}",
        )  # fmt: skip
        History(host.world.store.directory).append(entry)


def delete_the_crontab(host: HostUnderTest) -> None:
    fail_the_job(host, 0)
    assert "crontab-missing" not in {one.check for one in host.report().findings}
    (host.world.directory / "cron/conductor-web").unlink()


def fail_the_job(host: HostUnderTest, failures: int, exit_code: int | None = 3) -> None:
    """Install a crontab with one job that has failed so many times in a row."""
    live = msgspec.structs.replace(host.wanted().live, crontab=f"0 5 * * * {COMMAND}\n")
    host.change_wanted(release=live)
    context = host.world.context()
    context.crontabs.put("web", wrapped(context, live))
    result = JobResult(
        service="web",
        job=job_key(COMMAND),
        revision="r1",
        began=host.world.clock.now(),
        exit_code=exit_code,
        failures=failures,
    )
    host.world.store.write_job(result)


ROWS = {
    "damaged": Row("damaged-state", ERROR, lambda host: host.write("state/services/web.json", "{"), "web"),
    "damaged journal": Row("damaged-state", ERROR, lambda host: host.write("state/journal/web.json", "{"), "web"),
    "interrupted": Row("interrupted-change", ERROR, interrupt, "web"),
    "paused": Row("paused", INFO, lambda host: pause(host, 3600), "web"),
    "pause with an end": Row(
        "paused", INFO, lambda host: pause(host, 2 * DAY, until=host.world.clock.later(3 * DAY)), "web"
    ),
    "forgotten": Row("pause-forgotten", WARNING, lambda host: pause(host, 2 * DAY), "web"),
    "maintenance": Row("maintenance", INFO, lambda host: maintain(host, 3600), "web"),
    "forgotten maintenance": Row("maintenance-forgotten", WARNING, lambda host: maintain(host, 2 * DAY), "web"),
    "stopped": Row("stopped", INFO, lambda host: host.world.perform(actions.stop("a move")), "web"),
    "drifted": Row(
        "drifted", WARNING, lambda host: host.define({"web": {**WEB, "env": {"A": "2"}}, "worker": WORKER}), "web"
    ),
    "secret file changed": Row("drifted", WARNING, change_a_secret_file, "web"),
    "unknown key": Row("unknown-keys", WARNING, with_unknown_key, "web"),
    "backing off": Row("supervise-retries", WARNING, back_off, "web"),
    "keeps exiting": Row("replica-restarts", WARNING, lambda host: replace(host, 3), "web"),
    "missing": Row("replica-missing", ERROR, stop_worker_replica, "worker"),
    "unhealthy": Row("replica-unhealthy", ERROR, make_unhealthy, "web"),
    "one too many": Row(
        "replica-surplus",
        WARNING,
        lambda host: host.add_replica(release=host.wanted().live.id, address="10.213.0.30:8080"),
        "web",
    ),
    "stray": Row(
        "stray-container", WARNING, lambda host: host.add_replica(release="other", address="10.213.0.30:8080"), "web"
    ),
    "state is lost": Row(
        "state-missing", ERROR, lambda host: (host.world.store.directory / "services" / "worker.json").unlink(), "worker"
    ),
    "image is gone": Row("image-missing", ERROR, lambda host: host.change_wanted(
        "worker", release=msgspec.structs.replace(host.wanted("worker").live, image_id="sha256:gone")
    ), "worker"),
    "undefined": Row("undefined-service", WARNING, lambda host: host.define({"web": WEB}), "worker"),
    "routed to nothing": Row("route-to-nothing", ERROR, lose_a_replica_of_web, "web"),
    "not routed to": Row("route-missing", WARNING, leave_out_a_replica, "web"),
    "kept image is gone": Row("kept-image-missing", WARNING, lose_the_kept_image, "web"),
    "task is left": Row("leftover-task", WARNING, HostUnderTest.leave_task, "web"),
    "crontab is gone": Row("crontab-missing", WARNING, delete_the_crontab, "web"),
    "job fails": Row("job-failing", WARNING, lambda host: fail_the_job(host, 2), "web"),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_each_trouble_is_found(host: HostUnderTest, row: Row) -> None:
    causes_its_finding(host, row)


@pytest.mark.parametrize(("row", "fix"), [
    ("missing", "conductor service start --id worker"), ("stray", "conductor service start --id web"),
])  # fmt: skip
def test_the_fix_is_the_command_that_service_status_names(host: HostUnderTest, row: str, fix: str) -> None:
    ROWS[row].arrange(host)
    host.supervising.close()
    fixes = {one.check: one.fix.partition("   ")[0] for one in host.report().findings}
    assert fixes[ROWS[row].check] == fix
    assert any(note.text.endswith(f"run {fix}") for one in host.examination().rows() for note in one.notes)


def test_in_maintenance_no_request_goes_to_a_container_that_is_gone(host: HostUnderTest) -> None:
    maintain(host, 60)
    lose_a_replica_of_web(host)
    assert "route-to-nothing" not in {one.check for one in host.report().findings}


def test_two_restarts_in_an_hour_are_no_finding(host: HostUnderTest) -> None:
    replace(host, 2)
    assert host.report().findings == ()


def test_the_reason_is_that_of_the_latest_restart(host: HostUnderTest) -> None:
    replace(host, 4)
    [finding] = host.report().findings
    assert finding.what == "supervise replaced or started replicas 4 times in the last hour"
    assert finding.why.endswith("the latest reason: repair 3")


def test_one_failed_run_is_no_finding(host: HostUnderTest) -> None:
    fail_the_job(host, 1)
    assert "job-failing" not in {one.check for one in host.report().findings}


def test_a_pause_that_is_over_is_no_finding(host: HostUnderTest) -> None:
    pause(host, 2 * DAY, until=host.world.clock.later(DAY))
    assert host.report().findings == ()


def test_a_first_repair_is_no_finding(host: HostUnderTest) -> None:
    publish(host, ServiceStatus(reason=Mismatch(wanted=2, healthy=1), text="1 of 2"))
    assert host.report().findings == ()


def test_a_repair_that_helped_is_no_finding(host: HostUnderTest) -> None:
    publish(host, ServiceStatus(reason=AsWanted(), text="as wanted", attempts=1))
    assert host.report().findings == ()


def test_a_replica_too_many_during_a_change_is_no_finding(host: HostUnderTest) -> None:
    host.add_replica(release=host.wanted().live.id, address="10.213.0.30:8080")
    with host.world.context().locks.hold("web"):
        assert host.report().findings == ()


def test_an_unhealthy_replica_matters_more_than_one_too_many(host: HostUnderTest) -> None:
    host.world.health.unhealthy.update(one.id for one in host.world.replicas("web"))
    host.add_replica(release=host.wanted().live.id, address="10.213.0.30:8080")
    assert "replica-unhealthy" in {one.check for one in host.report().findings}


def test_containers_of_a_change_in_progress_are_no_strays(host: HostUnderTest) -> None:
    host.add_replica(release="other", address="10.213.0.30:8080")
    with host.world.context().locks.hold("web"):
        assert host.report().findings == ()


@pytest.mark.parametrize(("seconds", "found"), [(0, []), (599, []), (721, ["stray-container"])])
def test_a_replica_that_is_stopping_is_a_stray_only_once_it_is_overdue(
    host: HostUnderTest, seconds: float, found: list[str]
) -> None:
    replica = host.add_replica(release="other", address="10.213.0.30:8080")
    until = host.world.clock.wall() + 600
    host.change_wanted(retiring=(Retiring(id=replica, grace=600, until=until),))
    host.world.clock.advance(seconds)
    publish(host, ServiceStatus(reason=AsWanted(), text="as wanted"))
    assert [one.check for one in host.report().findings] == found


def test_a_stray_of_the_live_revision_is_not_missing_in_nginx(host: HostUnderTest) -> None:
    host.add_replica(release="other", address="10.213.0.30:8080")
    assert [one.check for one in host.report().findings] == ["stray-container"]


def test_a_damaged_service_hides_no_other(host: HostUnderTest) -> None:
    host.write("state/services/web.json", "{")
    stop_worker_replica(host)
    found = {(one.check, one.service) for one in host.report().findings}
    assert {("damaged-state", "web"), ("replica-missing", "worker")} <= found


def test_a_task_that_ended_just_now_is_not_left(host: HostUnderTest) -> None:
    host.leave_task(seconds=1)
    assert host.report().findings == ()


def test_a_change_that_ends_during_the_examination_is_no_wrong_route(host: HostUnderTest) -> None:
    """The rows are made first, with a health check of each replica, and nginx is asked after that."""
    examination = host.examination()
    assert examination.rows()
    host.world.restart()
    assert list(routes(examination)) == []


def test_a_failing_job_without_an_exit_code_runs_again_or_was_killed(host: HostUnderTest) -> None:
    fail_the_job(host, 2, exit_code=None)
    for why in ("it is running again", "its last run was killed"):
        (found,) = (one for one in host.report().findings if one.check == "job-failing")
        assert (found.what.endswith("2 times in a row"), found.why) == (True, why)
        host.world.clock.sleep(61)
