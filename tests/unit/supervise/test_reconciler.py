"""Passes and their actions on a host in memory: what `supervise` does, records, logs and publishes."""

import fcntl
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from conductor.change import actions
from conductor.errors import ConductorError, LockYielded
from conductor.plan.history import Outcome
from conductor.plan.reason import AsWanted, Busy, InterruptedChange, Mismatch, Paused, Unreadable
from conductor.plan.reconcile import Condition
from conductor.plan.release import Hold
from conductor.plan.route import TrafficState
from conductor.plan.tasks import Task, task_spec
from conductor.state.supervisor_status import traffic_problem
from conductor.supervise.route_loader import SUBJECT
from tests.fakes.world import WEB

HOLD = Hold(reason="holiday", who="ada", since="2024-01-01T00:00:00.000Z")


def ids(host: Any) -> set[str]:
    return {one.id for one in host.replicas() if one.running}


def endpoints(host: Any) -> set[str]:
    return {one.endpoint for one in host.replicas() if one.running}


def outcomes(host: Any) -> list[tuple[str, Outcome]]:
    return [(entry.action, entry.outcome) for entry in host.history()]


def pause(host: Any, service: str = "web") -> None:
    host.store.write_wanted(msgspec.structs.replace(host.store.wanted(service), paused=HOLD))


def interrupt(host: Any) -> None:
    """Kill an upgrade to r2 when it is about to switch traffic."""
    host.traffic.fail("switch", error=LockYielded(), at="recorded")
    with pytest.raises(LockYielded):
        host.upgrade("r2")


def test_nothing_is_done_for_a_healthy_service(host: Any) -> None:
    before = ids(host)
    host.run_passes(30.0)
    assert (ids(host), host.lines, host.history()) == (before, [], [])
    assert host.status().services == {}
    assert host.status().text == "1 service, 2 containers"


def test_an_exited_replica_is_replaced(host: Any) -> None:
    kept, exited = sorted(ids(host))
    [name] = [one.name for one in host.replicas() if one.id == exited]
    host.runtime.exit(exited, 137, out_of_memory=True)
    host.run_pass()
    assert kept in ids(host)
    assert exited not in {one.id for one in host.replicas()}
    assert host.running() == {"r1": 2}
    assert set(host.traffic.routes["web"]) == endpoints(host)
    assert outcomes(host) == [("repair", Outcome.DONE)]
    assert [entry.command for entry in host.history()] == ["supervise"]
    why = f"2 wanted, 1 healthy, 1 exited; {name} was killed: out of memory (exit code 137)"
    assert host.lines == [f"web: repair started: {why}", "web: repair done"]
    assert [entry.reason for entry in host.history()] == [why]
    assert host.runtime.lost == []


def test_a_repair_says_what_an_unhealthy_replica_answered(host: Any) -> None:
    _, unhealthy = host.replicas()
    host.monitor.conditions[unhealthy.id], host.monitor.answers[unhealthy.id] = Condition.UNHEALTHY, "status 503 'sick'"
    host.run_pass()
    assert host.history()[0].reason == f"2 wanted, 1 healthy, 1 unhealthy; {unhealthy.name}: status 503 'sick'"


def test_a_server_template_belongs_to_the_release(host: Any, tmp_path: Path) -> None:
    path = tmp_path / "server.j2"
    path.write_text("one")
    server = {"listen": ["80"], "names": ["example.com"], "template": str(path)}
    host.define({"web": {**WEB, "nginx": {"server": server}}})
    host.upgrade("r2")
    path.unlink()
    kept, unhealthy = host.replicas()
    host.monitor.conditions[unhealthy.id] = Condition.UNHEALTHY
    host.traffic.given.clear()
    host.run_pass()  # repairs, and meanwhile sends requests to the other replica
    host.traffic.routes["web"] = (kept.endpoint,)
    host.clock.advance(60.0)
    host.run_pass()
    assert ("reroute", Outcome.DONE) in outcomes(host)
    assert {one.template for one in host.traffic.given} == {"one"}


def test_repairs_and_reroutes_leave_a_service_in_maintenance(host: Any) -> None:
    host.perform(actions.maintenance_on("x"))
    host.run_pass()
    assert outcomes(host) == []
    kept, unhealthy = host.replicas()
    host.monitor.conditions[unhealthy.id] = Condition.UNHEALTHY
    host.traffic.given.clear()
    host.run_pass()
    host.traffic.routes["web"] = (kept.endpoint,)
    host.clock.advance(60.0)
    host.run_pass()
    assert outcomes(host) == [("repair", Outcome.DONE), ("reroute", Outcome.DONE)]
    assert {one.maintenance for one in host.traffic.given} == {host.store.wanted("web").maintenance} != {None}
    assert set(host.traffic.routes["web"]) == endpoints(host)
    assert host.runtime.lost == []


def test_an_unhealthy_replica_is_replaced(host: Any) -> None:
    kept, unhealthy = sorted(ids(host))
    host.monitor.conditions[unhealthy] = Condition.UNHEALTHY
    host.run_pass()
    assert kept in ids(host)
    assert unhealthy not in ids(host)
    assert host.running() == {"r1": 2}
    assert host.runtime.lost == []


def test_after_a_reboot_the_same_replicas_are_started_again(host: Any) -> None:
    before = ids(host)
    host.runtime.restart_host()
    host.supervise()
    host.run_pass()
    assert ids(host) == before
    assert outcomes(host) == [("restart-exited", Outcome.DONE)]


def test_a_lost_event_stream_is_taken_for_a_restart_of_docker(host: Any) -> None:
    before = ids(host)
    host.runtime.restart_host()
    host.runtime_state.may_have_restarted = True
    host.run_pass()
    assert ids(host) == before


def test_wrong_traffic_is_rerouted(host: Any) -> None:
    host.traffic.routes["web"] = tuple(sorted(endpoints(host)))[:1]
    host.run_pass()
    assert set(host.traffic.routes["web"]) == endpoints(host)
    assert outcomes(host) == [("reroute", Outcome.DONE)]


def test_a_file_of_nginx_that_was_edited_by_hand_is_overwritten_with_a_warning(host: Any) -> None:
    host.traffic.routes["web"] = ()  # its endpoints are unknown
    host.traffic.edited_files["web"] = Path("/etc/nginx/conductor.d/web.conf")
    host.run_pass()
    assert set(host.traffic.routes["web"]) == endpoints(host)
    [line] = [line for line in host.lines if "edited by hand" in line]
    assert line.startswith("web: /etc/nginx/conductor.d/web.conf was edited by hand, and Conductor overwrites it")


def test_a_failed_reroute_is_retried_and_recorded_ever_less_often(host: Any) -> None:
    host.traffic.routes["web"] = tuple(sorted(endpoints(host)))[:1]
    host.traffic.running = False
    host.run_passes(60.0)
    assert outcomes(host) == [("reroute", Outcome.FAILED)] * 4
    assert [entry.failures for entry in host.history()] == [1, 2, 4, 8]
    assert host.lines.count("web: the traffic layer is not running") == 1
    host.traffic.running = True
    host.run_passes(10.0)
    assert outcomes(host)[4:] == [("reroute", Outcome.DONE)]
    assert 8 <= host.history()[-1].failures < 16


def test_failing_repairs_are_spaced_and_recorded_ever_less_often(host: Any) -> None:
    host.health.unhealthy.add("r1")
    host.runtime.exit(min(ids(host)))
    host.run_passes(600.0)
    assert [(action, entry.failures) for (action, _), entry in zip(outcomes(host), host.history(), strict=True)] == [
        ("repair", count) for count in (1, 2, 4, 8)
    ]
    status = host.status().services["web"]
    assert isinstance(status.reason, Mismatch | Busy)
    assert status.attempts > 3
    assert len([line for line in host.lines if line.startswith("web: failed ")]) in {1, 2, 3}
    assert status.needs_attention


def test_failures_after_a_service_was_healthy_again_are_counted_and_recorded_anew(host: Any) -> None:
    """Without a repair: what all replicas share, such as a database, failed twice."""
    counts = []
    for _ in range(2):
        host.health.unhealthy.add("r1")
        host.monitor.conditions = dict.fromkeys(ids(host), Condition.UNHEALTHY)
        before = len(host.history())
        host.run_passes(240.0)
        counts.append([entry.failures for entry in host.history()[before:] if entry.action == "repair"])
        host.health.unhealthy.clear()
        host.monitor.conditions = {}
        host.run_passes(90.0)
    assert counts[0][:2] == counts[1][:2] == [1, 2]


def test_the_next_supervise_continues_the_delays(host: Any) -> None:
    host.health.unhealthy.add("r1")
    host.runtime.exit(min(ids(host)))
    host.run_passes(300.0)
    attempts = host.retries.states["web"].repair.count
    assert attempts > 2
    host.run_pass()  # publishes the latest attempt
    last = host.retries.states["web"].repair.last
    published = host.status().services["web"].last_attempt
    assert 0 <= host.clock.seconds(published) - host.clock.wall() + host.clock.monotonic() - last < 1
    assert published == host.clock.at(host.clock.seconds(published))
    host.supervise()
    host.runtime_state.may_have_restarted = False
    host.run_pass()
    assert host.retries.states["web"].repair.count >= attempts
    assert host.retries.states["web"].repair.last >= last


def test_without_traffic_an_exited_replica_is_started_again_in_place(host: Any) -> None:
    exited = min(ids(host))
    host.runtime.exit(exited)
    host.traffic.running = False
    host.run_pass()
    assert exited in ids(host)


def test_an_interrupted_change_is_recovered(host: Any) -> None:
    before = ids(host)
    interrupt(host)
    assert host.store.journal("web") is not None
    host.run_pass()
    assert host.store.journal("web") is None
    assert ids(host) == before
    assert outcomes(host) == [("upgrade", Outcome.RECOVERED_ROLLED_BACK)]
    assert host.lines[0] == "web: recover started: a change was interrupted"


def test_nothing_is_done_for_a_paused_service(host: Any) -> None:
    pause(host)
    host.runtime.exit(min(ids(host)))
    host.run_passes(30.0)
    assert len(ids(host)) == 1
    assert host.history() == []
    assert host.status().services["web"].reason == Paused(HOLD)
    assert not host.status().services["web"].needs_attention


def test_a_change_that_includes_a_paused_service_is_not_recovered(host: Any) -> None:
    host.define({"web": host.definitions.services["web"].written, "shop": host.definitions.services["web"].written})
    host.upgrade("r1", "shop")
    interrupt(host)  # a change of both
    pause(host, "shop")
    host.run_pass()
    journal = host.store.journal("web")
    assert journal is not None
    assert set(journal.services) == {"web", "shop"}
    assert any("shop is paused" in line for line in host.lines)
    host.run_pass()
    assert host.status().services["web"].reason == InterruptedChange()
    assert host.status().services["web"].until


def test_a_waiting_command_comes_first(host: Any) -> None:
    host.runtime.exit(min(ids(host)))
    with (host.directory / "run" / "locks" / "web.waiting.lock").open("a") as waiting:
        fcntl.flock(waiting, fcntl.LOCK_SH)
        host.run_pass()
        assert len(ids(host)) == 1
    host.run_pass()  # without a delay, because nothing was attempted
    assert len(ids(host)) == 2


def test_a_repair_yields_to_a_waiting_command(host: Any) -> None:
    host.runtime.exit(min(ids(host)))
    create = host.runtime.create

    def create_while_a_command_waits(spec: Any) -> str:
        fcntl.flock(waiting, fcntl.LOCK_SH)
        host.clock.advance(1.0)
        return str(create(spec))

    with (host.directory / "run" / "locks" / "web.waiting.lock").open("a") as waiting:
        host.runtime.create = create_while_a_command_waits
        host.run_pass()
    assert host.lines[-1] == "web: repair stopped: a command is waiting for the lock, or supervise is exiting"
    assert host.store.journal("web") is not None
    assert host.store.journal("web").action == "repair"


def test_a_busy_service_is_not_observed(host: Any) -> None:
    host.runtime.exit(min(ids(host)))
    with host.context().locks.hold("web"):
        host.run_pass()
    assert len(ids(host)) == 1
    assert host.status().services["web"].reason == Busy()


def test_a_runtime_that_does_not_answer_is_no_reason_to_act(host: Any) -> None:
    before = ids(host)
    host.runtime.away = True
    host.run_passes(10.0)
    assert len([line for line in host.lines if line.startswith("the last pass failed: ")]) == 1
    assert host.status().text.startswith("the last pass failed: ")
    assert not host.results.succeeded
    host.runtime.away = False
    host.run_pass()
    assert host.lines[-1] == "the last pass succeeded"
    assert host.results.succeeded
    assert ids(host) == before


def test_a_service_that_cannot_be_read_does_not_delay_the_others(host: Any) -> None:
    (host.directory / "state" / "services" / "shop.json").write_text("{")
    host.runtime.exit(min(ids(host)))
    host.run_pass()
    assert host.running() == {"r1": 2}
    assert isinstance(host.status().services["shop"].reason, Unreadable)
    assert not host.results.succeeded


def test_a_changed_definition_is_applied(host: Any) -> None:
    path = host.directory / "services.yml"
    document = yaml.safe_load(path.read_text())
    document["host"]["supervise"] = {"drift": "apply"}
    document["services"]["web"]["env"] = {"COLOUR": "blue"}
    path.write_text(yaml.safe_dump(document))
    before = ids(host)
    host.supervise()
    host.run_pass()
    assert not ids(host) & before
    assert host.running() == {"r1": 2}
    assert outcomes(host) == [("restart", Outcome.DONE)]


def test_a_changed_image_is_left_to_an_upgrade(host: Any) -> None:
    path = host.directory / "services.yml"
    document = yaml.safe_load(path.read_text())
    document["host"]["supervise"] = {"drift": "apply"}
    document["services"]["web"]["image"] = "another/app"
    path.write_text(yaml.safe_dump(document))
    before = ids(host)
    host.supervise()
    host.run_passes(30.0)
    assert ids(host) == before
    assert outcomes(host) == []
    assert "web" not in host.status().services


def test_a_changed_secret_file_is_applied_once(host: Any) -> None:
    password = host.directory / "password"
    password.write_text("apple\n")
    path = host.directory / "services.yml"
    document = yaml.safe_load(path.read_text())
    document["host"]["supervise"] = {"drift": "apply"}
    document["services"]["web"]["env"] = {"PASSWORD": {"file": str(password)}}
    path.write_text(yaml.safe_dump(document))
    host.supervise()
    host.run_passes(30.0)
    password.write_text("pear\n")
    before = ids(host)
    host.run_passes(30.0)
    assert not ids(host) & before
    assert outcomes(host) == [("restart", Outcome.DONE)] * 2
    password.unlink()
    host.run_passes(30.0)
    assert outcomes(host) == [("restart", Outcome.DONE)] * 2


def test_routes_are_loaded_at_the_start_and_after_a_failure(host: Any) -> None:
    assert host.traffic.calls.count("load") == 1
    host.run_passes(20.0)
    assert host.traffic.calls.count("load") == 1
    host.traffic.fail("switch")
    host.traffic.routes["web"] = ()
    host.run_passes(20.0)
    assert host.traffic.calls.count("load") >= 2


def test_a_failed_load_is_retried(host: Any) -> None:
    host.supervise()
    host.traffic.fail("load", error=ConductorError("cannot load: no space"))
    host.run_passes(20.0)
    assert host.traffic.calls.count("load") == 3
    assert host.lines == [f"{SUBJECT}: cannot load: no space"]


def test_a_bug_in_one_action_is_logged_and_retried(host: Any) -> None:
    host.runtime.exit(min(ids(host)))
    host.runtime.fail("create", error=KeyError("port"))
    host.run_pass()
    assert "web: this is a bug in Conductor: KeyError: 'port'" in host.lines
    host.run_passes(10.0)
    assert host.running() == {"r1": 2}


def test_as_wanted_again_ends_the_counting_of_failures(host: Any) -> None:
    host.runtime.exit(min(ids(host)))
    host.runtime.fail("create")
    host.run_passes(20.0)
    assert host.results.succeeded
    assert host.status().services["web"].reason == AsWanted()  # with the attempts of the last minute
    host.run_passes(60.0)
    assert host.status().services == {}


@pytest.mark.parametrize("fails", [False, True])
def test_a_repair_yields_while_a_replica_takes_long_to_stop(host: Any, fails: bool) -> None:
    """During the stop of `order: stop-first`, and during a rollback of a service without nginx."""
    worker = {"image": "shop", "health": {"none": True, "stable_for": "1s"}, "stop": {"grace": "10m"}}
    host.define({"worker": worker if fails else {**worker, "order": "stop-first"}})
    host.upgrade("r1", "worker")
    host.clock.advance(60.0)
    [replica] = host.replicas("worker")
    host.monitor.conditions[replica.id] = Condition.UNHEALTHY
    if fails:
        host.health.unhealthy.add("r1")
    yielded = threading.Event()

    def stop(_container: str, _seconds: float) -> bool:
        fcntl.flock(waiting, fcntl.LOCK_SH)
        host.clock.advance(1.0)
        yielded.wait(10.0)
        return False

    with (host.directory / "run" / "locks" / "worker.waiting.lock").open("a") as waiting:
        host.runtime.stop = stop
        host.run_pass()
        assert not yielded.is_set()
        yielded.set()
    assert host.lines[-1] == "worker: repair stopped: a command is waiting for the lock, or supervise is exiting"
    assert host.store.journal("worker").action == "repair"


@pytest.mark.parametrize("routed", [True, False])
@pytest.mark.parametrize("cause", ["secret", "create", "check", "network"])
def test_without_a_replacement_an_exited_replica_is_started_again_in_place(host: Any, cause: str, routed: bool) -> None:
    secret = host.directory / "secret"
    secret.write_text("s")
    definition = {**WEB, "env": {"KEY": {"file": str(secret)}}, "nginx": {} if routed else None}
    host.define({"shop": definition})
    host.upgrade("r1", "shop")
    host.clock.advance(60.0)
    exited = host.replicas("shop")[0].id
    host.runtime.exit(exited)
    match cause:
        case "secret":
            secret.unlink()
        case "create":
            host.runtime.fail("create")
        case "network":
            host.runtime.fail("ensure_network")
        case _:
            host.traffic.running = False
            host.runtime.fail("create")
    host.run_pass()
    assert exited in {one.id for one in host.replicas("shop") if one.running}
    assert host.running("shop") == {"r1": 2}
    assert host.store.journal("shop") is None


def test_nothing_is_started_in_place_beside_replicas_that_could_not_be_rolled_back(host: Any) -> None:
    exited = min(ids(host))
    host.runtime.exit(exited)

    def fail(_wanted: Any) -> None:
        raise ConductorError("cannot write: no space")

    host.store.write_wanted = fail
    host.traffic.fail("undo")
    host.run_pass()
    assert host.store.journal("web") is not None
    assert exited not in ids(host)


def test_a_traffic_layer_that_is_down_is_published_and_logged_once(host: Any) -> None:
    assert not host.status().traffic_down
    host.traffic.running = False
    host.run_passes(1.0)
    assert host.status().traffic_down
    assert [line for line in host.lines if "nginx is not running" in line] == [
        f"traffic layer: {traffic_problem(TrafficState.DOWN)}"
    ]
    host.traffic.running, host.traffic.loaded = True, False
    host.run_pass()
    assert host.status().traffic is TrafficState.NOT_LOADED
    assert traffic_problem(TrafficState.NOT_LOADED) in host.lines[-1]
    host.traffic.loaded = True
    host.run_pass()
    assert not host.status().traffic_down
    assert host.results.succeeded


def test_the_ends_of_tasks_that_look_alike_are_all_recorded(host: Any) -> None:
    definition = host.definitions.services["web"]
    for number in range(3):
        task = Task(service="web", kind="cron", command=("true",), job="k1", name=f"job-{number}")
        spec = task_spec(
            task, definition, host.store.wanted("web").live, {}, instance="default", network="conductor", change="t1"
        )  # fmt: skip
        host.runtime.start(host.runtime.create(spec))
    host.clock.advance(120.0)
    host.run_pass()
    assert outcomes(host) == [("cron", Outcome.UNATTENDED)] * 3


def test_a_container_that_the_rollback_of_a_first_deploy_could_not_remove_is_removed_later(host: Any) -> None:
    host.define({"web": WEB, "shop": WEB})
    host.health.unhealthy.add("r2")
    for nth in (1, 2):
        host.runtime.fail("remove", nth)
    with pytest.raises(ConductorError):
        host.upgrade("r2", "shop")
    assert host.replicas("shop")
    host.run_passes(60.0)
    assert host.replicas("shop") == ()
    assert host.store.journal("shop") is None
    assert host.running() == {"r1": 2}
