"""Changes on a host in memory: what each action does when all goes well, and how each refusal and failure ends."""

import os
import re
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from conductor.change import actions, parallel
from conductor.change.gate import GateFailed
from conductor.change.upgrade import Options, upgrade
from conductor.cron.table import CrontabError
from conductor.definitions.model import JoinedNetwork
from conductor.definitions.problems import DefinitionsError
from conductor.errors import BusyError, ConductorError, Interrupted, LockYielded, OperatorError
from conductor.output.events import DrainProgress, Finished, Notice, Progress, StepStarted, Warned
from conductor.plan import labels
from conductor.plan.history import Outcome
from conductor.plan.journal import Journal
from conductor.plan.replica import CheckResult
from conductor.plan.tasks import GENERATE
from conductor.runtime.port import RuntimeUnavailable
from conductor.state.locks import IMAGES, Locks
from conductor.supervise.cancellation import YieldCancellation
from conductor.traffic.port import TrafficUnavailable, Unreached
from tests.fakes.runtime import Behaviour, FakeClock
from tests.fakes.traffic import FakeTraffic
from tests.fakes.world import WEB, WORKER, WatchedRuntime, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, {"web": WEB})


def steps(world: World) -> list[str]:
    return [event.step for event in world.recorder.events if isinstance(event, StepStarted)]


def test_first_deploy(world: World) -> None:
    finished = world.upgrade("r1")
    assert world.running() == {"r1": 2}
    assert set(world.traffic.routes["web"]) == {one.endpoint for one in world.replicas()}
    assert (finished.exit_code, finished.services[0].changed, finished.services[0].to) == (0, True, "r1")
    assert steps(world) == ["start", "gate", "cutover", "commit", "history"]
    assert world.recorder.history[-1].outcome is Outcome.DONE


def test_upgrade_replaces_drains_and_keeps_the_release_before(world: World) -> None:
    world.upgrade("r1")
    old = {one.endpoint for one in world.replicas()}
    world.upgrade("r2")
    assert world.running() == {"r2": 2}
    assert [set(endpoints) for endpoints in world.traffic.drained] == [old]
    assert [one.revision for one in world.store.wanted("web").kept] == ["r1"]
    assert world.store.addresses().reserved == {}
    assert world.store.journal("web") is None


def test_an_upgrade_reports_what_the_drain_and_the_stop_wait_for(world: World) -> None:
    world.upgrade("r1")
    world.traffic.unfinished = {str(one.endpoint) for one in world.replicas()}
    world.recorder.events.clear()
    world.upgrade("r2")
    progress = [event for event in world.recorder.events if isinstance(event, Progress)]
    (drain,) = [event for event in progress if isinstance(event, DrainProgress)]
    assert (drain.step, drain.requests) == ("drain", 2)
    assert any(event.step == "retire" for event in progress)


def test_the_live_revision_again_changes_nothing(world: World) -> None:
    world.upgrade("r1")
    calls = len(world.runtime.called("create"))
    finished = world.upgrade("r1")
    assert not finished.services[0].changed
    assert len(world.runtime.called("create")) == calls
    assert world.upgrade("r1", force=True).services[0].changed


def test_a_changed_notify_needs_no_upgrade(world: World) -> None:
    world.upgrade("r1")
    world.define({"web": {**WEB, "notify": ["page-me"]}})
    assert not world.upgrade("r1").services[0].changed
    world.define({"web": {**WEB, "notify": ["page-me"], "memory": "1GiB"}})
    assert world.upgrade("r1").services[0].changed


def notices(world: World) -> list[str]:
    return [event.text for event in world.recorder.events if isinstance(event, Notice)]


SCALED_TO_ZERO = (
    "web was scaled to 0 by an operator, so no replicas are running; to return to the count in the definitions file, "
    "run conductor service scale --id web --reset"
)


@pytest.mark.parametrize(
    ("act", "changed"),
    [
        (lambda world: world.perform(actions.start), False),
        (lambda world: world.upgrade("r1"), False),
        (lambda world: world.upgrade("r2"), True),
        (lambda world: world.restart(), True),
        (lambda world: (world.perform(actions.stop("")), world.perform(actions.start))[1], True),
    ],
    ids=["start", "upgrade-to-live", "upgrade", "restart", "start-of-a-stopped"],
)
def test_a_service_that_an_operator_scaled_to_0_runs_nothing_and_the_command_that_undoes_it_is_printed(
    world: World, act: Callable[[World], Finished], changed: bool
) -> None:
    world.upgrade("r1")
    world.perform(actions.scale(0))
    world.recorder.events.clear()
    finished = act(world)
    assert (finished.exit_code, finished.warnings, finished.services[0].changed) == (0, 0, changed)
    assert notices(world) == [SCALED_TO_ZERO]
    assert world.running() == {}
    world.recorder.events.clear()
    world.perform(actions.scale(None))
    assert world.running().popitem()[1] == 2
    world.perform(actions.start)
    assert notices(world) == []


@pytest.mark.parametrize("plan_only", [False, True])
def test_also_beside_a_service_that_changes(tmp_path: Path, plan_only: bool) -> None:
    world = World(tmp_path, {"web": WEB, "worker": WORKER})
    world.upgrade("r1")
    world.perform(actions.scale(0))
    world.perform(actions.stop(""), "worker")
    world.recorder.events.clear()
    world.perform(actions.start, "web", "worker", plan_only=plan_only)
    assert notices(world).count(SCALED_TO_ZERO) == 1
    world.perform(actions.start, "worker")
    world.define({"web": WEB, "worker": {**WORKER, "memory": "1GiB"}})
    world.recorder.events.clear()
    world.upgrade("r1", plan_only=plan_only)
    assert notices(world).count(SCALED_TO_ZERO) == 1


def test_a_plan_reports_that_no_replica_will_run(world: World) -> None:
    world.upgrade("r1")
    world.perform(actions.scale(0))
    world.upgrade("r2", plan_only=True)
    assert notices(world)[-1] == SCALED_TO_ZERO
    world.recorder.events.clear()
    world.perform(actions.stop(""))
    assert notices(world) == []


@pytest.fixture
def with_files(tmp_path: Path) -> World:
    """One service with a secret file and an env file."""
    (tmp_path / "password").write_text("apple\n")
    (tmp_path / "web.env").write_text("COLOUR=blue\n")
    env = {"PASSWORD": {"file": str(tmp_path / "password")}}
    return World(tmp_path, {"web": {**WEB, "env": env, "env_file": str(tmp_path / "web.env")}})


@pytest.mark.parametrize(("file", "text"), [("password", "pear\n"), ("web.env", "COLOUR=red\n")])
def test_the_live_revision_again_replaces_replicas_whose_files_changed(with_files: World, file: str, text: str) -> None:
    world = with_files
    world.upgrade("r1")
    assert not world.upgrade("r1").services[0].changed
    (world.directory / file).write_text(text)
    before = {one.id for one in world.replicas()}
    assert world.upgrade("r1").services[0].changed
    assert not before & {one.id for one in world.replicas()}
    assert not world.upgrade("r1").services[0].changed


def test_neither_a_comment_nor_an_unreadable_file_is_a_change(with_files: World) -> None:
    world = with_files
    world.upgrade("r1")
    (world.directory / "web.env").write_text("# for the shop\nCOLOUR=blue\n")
    assert not world.upgrade("r1").services[0].changed
    (world.directory / "password").unlink()
    assert not world.upgrade("r1").services[0].changed


@pytest.mark.parametrize(
    "act", [lambda world: world.restart(), lambda world: world.upgrade("r2")], ids=["restart", "upgrade"]
)
def test_an_unreadable_secret_file_refuses_the_change_and_says_what_to_do(
    with_files: World, act: Callable[[World], object]
) -> None:
    with_files.upgrade("r1")
    (with_files.directory / "password").unlink()
    before = with_files.runtime.snapshot()
    with pytest.raises(DefinitionsError) as refused:
        act(with_files)
    assert refused.value.sentence.endswith("cannot use the secret and env files of web: 1 problem")
    path = with_files.directory / "password"
    assert refused.value.details[0] == f"{path}: env.PASSWORD: cannot be read: No such file or directory"
    assert refused.value.hint.endswith("conductor config check --files, which checks those of all services")
    assert with_files.runtime.snapshot() == before


def test_files_count_as_applied_only_once_every_replica_has_them(with_files: World) -> None:
    world = with_files
    world.upgrade("r1")
    (world.directory / "password").write_text("pear\n")
    world.perform(actions.scale(3))
    assert world.upgrade("r1").services[0].changed
    (world.directory / "password").write_text("plum\n")
    world.perform(actions.stop(""))
    world.perform(actions.start)
    assert not world.upgrade("r1").services[0].changed


def test_a_release_has_no_value_of_a_file_and_a_digest_that_only_its_key_reproduces(with_files: World) -> None:
    world = with_files
    world.upgrade("r1")
    state = world.directory / "state"
    stored = (state / "services" / "web.json").read_text()
    assert "apple" not in stored
    assert "blue" not in stored
    assert stat.S_IMODE((state / "digest.key").stat().st_mode) == 0o600
    digest = world.store.wanted("web").live.environment
    (state / "digest.key").unlink()
    assert not world.upgrade("r1").services[0].changed  # without the key nothing is known
    world.restart()
    assert world.store.wanted("web").live.environment != digest


def test_the_live_revision_after_a_scale_changes_nothing(world: World) -> None:
    """The new replicas have another change in their names, so they may be listed before those that stay."""
    world.upgrade("r1")
    for count in (3, 5, 7):
        world.perform(actions.scale(count))
        assert not world.upgrade("r1").services[0].changed


def test_rollback_goes_to_the_release_before(world: World) -> None:
    world.upgrade("r1")
    world.upgrade("r2")
    world.perform(actions.rollback(None))
    assert world.running() == {"r1": 2}
    assert world.store.wanted("web").live.revision == "r1"


def revisions_of_rollbacks(world: World, *to: str | None) -> list[str]:
    """Return the live revision after each rollback."""
    found = []
    for revision in to:
        world.perform(actions.rollback(revision))
        found.append(world.store.wanted("web").live.revision)
    return found


def test_each_rollback_goes_further_back(world: World) -> None:
    for revision in ("r1", "r2", "r3"):
        world.upgrade(revision)
    assert revisions_of_rollbacks(world, None, None) == ["r2", "r1"]
    with pytest.raises(ConductorError, match="no release before r1 is retained; retained revisions: r2, r3") as refused:
        world.perform(actions.rollback(None))
    assert refused.value.hint == "to return to a later release, run conductor service rollback --id web --to r2"
    assert revisions_of_rollbacks(world, "r3", None) == ["r3", "r1"]


def test_a_rollback_after_an_upgrade_goes_to_the_release_before_it(world: World) -> None:
    for revision in ("r1", "r2", "r3"):
        world.upgrade(revision)
    world.runtime.add_image("shop:r4")
    world.perform(actions.rollback(None))
    world.upgrade("r4")
    assert revisions_of_rollbacks(world, None, None) == ["r2", "r1"]
    world.upgrade("r3")
    world.upgrade("r4")
    assert revisions_of_rollbacks(world, None) == ["r3"]


@pytest.mark.parametrize("revision", ["r2", "r9"])
def test_rollback_to_the_live_or_an_unknown_revision_is_refused(world: World, revision: str) -> None:
    world.upgrade("r1")
    world.upgrade("r2")
    with pytest.raises(ConductorError):
        world.perform(actions.rollback(revision))
    assert world.running() == {"r2": 2}


def test_scale_stop_and_start(world: World) -> None:
    world.upgrade("r1")
    first = {one.id for one in world.replicas()}
    world.perform(actions.scale(3))
    assert world.running() == {"r1": 3}
    assert first < {one.id for one in world.replicas()}
    world.perform(actions.scale(1))
    assert world.running() == {"r1": 1}
    world.perform(actions.scale(None))
    assert world.running() == {"r1": 2}
    world.perform(actions.stop("maintenance"))
    assert world.running() == {}
    assert world.traffic.routes["web"] == ()
    assert world.recorder.history[-1].reason == "maintenance"
    with pytest.raises(ConductorError):
        world.upgrade("r2")
    world.perform(actions.start)
    assert world.running() == {"r1": 2}
    assert not world.perform(actions.start).services[0].changed


def test_scaling_a_stopped_service_only_records_the_count(world: World) -> None:
    world.upgrade("r1")
    world.perform(actions.stop(""))
    calls = list(world.traffic.calls)
    world.traffic.running = False  # it is not needed
    finished = world.perform(actions.scale(3))
    assert finished.text == "web is stopped; to start it with 3 replicas, run conductor service start --id web"
    assert (finished.services[0].changed, world.traffic.calls) == (True, calls)
    assert (world.store.wanted("web").scale, world.store.wanted("web").stopped is not None) == (3, True)
    entry = world.recorder.history[-1]
    assert (entry.action, entry.outcome, entry.count) == ("scale", Outcome.DONE, 0)
    assert not world.perform(actions.scale(3)).services[0].changed
    assert "with 2 replicas" in world.perform(actions.scale(None)).text
    world.perform(actions.scale(3))
    world.traffic.running = True
    world.perform(actions.start)
    assert world.running() == {"r1": 3}


def test_a_service_is_stopped_while_the_traffic_layer_is_down(world: World) -> None:
    world.upgrade("r1")
    known = world.traffic.known()
    world.traffic.running = False
    finished = world.perform(actions.stop(""))
    assert (world.running(), finished.warnings, finished.exit_code) == ({}, 1, 0)
    assert world.traffic.known() == known  # no other service gets these addresses
    with pytest.raises(TrafficUnavailable):
        world.perform(actions.start)
    world.traffic.running = True
    world.perform(actions.start)
    assert (world.running(), set(world.traffic.routes["web"])) == (
        {"r1": 2},
        {one.endpoint for one in world.replicas()},
    )


@pytest.mark.parametrize("at", ["before", "after"])
def test_a_stop_that_was_killed_while_the_traffic_layer_is_down_is_finished_later(world: World, at: str) -> None:
    """It is killed while it stops a replica, which is after the commit."""
    world.upgrade("r1")
    world.traffic.running = False
    world.runtime.fail("stop", 1, LockYielded(), after=at == "after")
    with pytest.raises(LockYielded):
        world.perform(actions.stop(""))
    world.recover(["web"])
    assert (world.running(), world.store.journal("web")) == ({}, None)
    assert world.store.wanted("web").stopped is not None


def test_the_routes_of_a_stop_that_is_rolled_back_are_restored_once_the_traffic_layer_is_up(world: World) -> None:
    """It was killed after the cutover and before the commit; then the traffic layer went down."""
    world.upgrade("r1")
    routes = dict(world.traffic.routes)
    world.traffic.fail("switch", 1, LockYielded(), at="after")
    with pytest.raises(LockYielded):
        world.perform(actions.stop(""))
    world.traffic.running = False
    with pytest.raises(ConductorError):
        world.recover(["web"])
    world.traffic.running = True
    world.recover(["web"])
    assert (world.running(), world.traffic.routes) == ({"r1": 2}, routes)


def test_upgrade_of_a_stopped_service_needs_start(world: World) -> None:
    world.upgrade("r1")
    world.perform(actions.stop(""))
    assert world.upgrade("r2", start=True).services[0].to == "r2"
    assert world.running() == {"r2": 2}


def test_a_stopped_service_is_refused_before_an_image_is_pulled(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": WEB, "worker": {**WORKER, "image": "jobs"}})
    world.runtime.add_image("jobs:r1")
    world.upgrade("r1")
    world.perform(actions.stop(""), "worker")
    world.runtime.publish_image("shop:r9")
    with pytest.raises(ConductorError):
        world.upgrade("r9")
    assert "shop:r9" not in world.runtime.images


def test_restart_uses_the_definition_of_the_file(world: World) -> None:
    world.upgrade("r1")
    world.define({"web": {**WEB, "env": {"MODE": "new"}}})
    world.restart()
    assert all(world.runtime.environment(one.id)["MODE"] == "new" for one in world.replicas())
    assert world.store.wanted("web").live.revision == "r1"


def test_a_worker_has_an_address_and_no_endpoint(tmp_path: Path) -> None:
    world = World(tmp_path, {"worker": WORKER})
    world.upgrade("r1")
    [replica] = world.replicas("worker")
    assert replica.address.count(".") == 3
    assert replica.endpoint is None
    assert steps(world) == ["start", "gate", "commit", "history"]
    assert "switch" not in world.traffic.calls


def test_a_service_that_loses_nginx_answers_503(world: World) -> None:
    world.upgrade("r1")
    world.define({"web": {key: value for key, value in WEB.items() if key != "nginx"}})
    world.upgrade("r2")
    assert world.traffic.routes["web"] == ()
    assert world.running() == {"r2": 2}


def test_a_gate_failure_names_the_replica_and_keeps_the_release(world: World) -> None:
    world.upgrade("r1")
    before = world.traffic.routes["web"]
    world.health.unhealthy.add("r2")
    with pytest.raises(GateFailed) as failed:
        world.upgrade("r2")
    assert failed.value.code == 1
    assert world.running() == {"r1": 2}
    assert world.traffic.routes["web"] == before
    assert "switch" not in world.traffic.calls[world.traffic.calls.index("check", 2) :]
    entry = world.recorder.history[-1]
    assert entry.outcome is Outcome.ROLLED_BACK
    assert "was not healthy after" in entry.reason


def test_a_replica_that_exits_fails_the_gate_without_waiting(world: World) -> None:
    world.upgrade("r1")
    world.health.failure_seconds = 0.3
    world.runtime.behave("r2", Behaviour(exits_after=0.0, exit_code=3))
    began = world.clock.monotonic()
    with pytest.raises(GateFailed) as failed:
        world.upgrade("r2")
    assert "exited with code 3" in failed.value.sentence
    assert world.clock.monotonic() - began < 5


def test_several_services_change_together(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": WEB, "worker": WORKER})
    world.upgrade("r1")
    assert (world.running("web"), world.running("worker")) == ({"r1": 2}, {"r1": 1})
    world.runtime.behave("r2", Behaviour(exits_after=0.0, exit_code=1), kind="service")
    with pytest.raises(ConductorError):
        world.upgrade("r2")
    assert (world.running("web"), world.running("worker")) == ({"r1": 2}, {"r1": 1})
    assert {entry.service for entry in world.recorder.history[-2:]} == {"web", "worker"}


def test_stop_first_never_runs_two(tmp_path: Path) -> None:
    world = World(tmp_path, {"clock": {**WORKER, "order": "stop-first"}})
    world.upgrade("r1")
    world.upgrade("r2")
    assert world.running("clock") == {"r2": 1}
    order = [call.method for call in world.runtime.calls if call.method in {"stop", "start"}]
    assert order == ["start", "stop", "start"]


def test_stop_first_starts_the_old_replica_again_after_a_failure(tmp_path: Path) -> None:
    world = World(tmp_path, {"clock": {**WORKER, "order": "stop-first"}})
    world.upgrade("r1")
    [old] = world.replicas("clock")
    world.runtime.behave("r2", Behaviour(exits_after=0.0, exit_code=1))
    with pytest.raises(GateFailed):
        world.upgrade("r2")
    [again] = world.replicas("clock")
    assert (again.id, again.running) == (old.id, True)


def test_stop_first_does_not_start_the_old_replica_beside_a_new_one_that_cannot_be_stopped(tmp_path: Path) -> None:
    world = World(tmp_path, {"clock": {**WORKER, "order": "stop-first"}})
    world.upgrade("r1")
    world.health.unhealthy.add("r2")
    for call in (2, 3):  # the first one is the old replica
        world.runtime.fail("stop", call)
    world.runtime.fail("remove")
    with pytest.raises(ConductorError):
        world.upgrade("r2")
    assert (world.running("clock"), world.runtime.overlaps) == ({"r2": 1}, [])
    world.recover(["clock"])
    assert world.running("clock") == {"r1": 1}


def test_stop_first_starts_no_new_replica_beside_an_old_one_that_cannot_be_stopped(tmp_path: Path) -> None:
    world = World(tmp_path, {"clock": {**WORKER, "order": "stop-first"}})
    world.upgrade("r1")
    for call in (1, 2):
        world.runtime.fail("stop", call)
    with pytest.raises(ConductorError, match="did not stop, and new replicas must not run at the same time"):
        world.upgrade("r2")
    assert (world.running("clock"), world.runtime.overlaps) == ({"r1": 1}, [])


def test_stop_first_restarts_an_old_replica_that_could_not_be_stopped_after_its_before_stop(tmp_path: Path) -> None:
    """The command may have made it take no more work."""
    world = World(tmp_path, {"clock": {**WORKER, "order": "stop-first", "before_stop": {"command": ["bin/quiet"]}}})
    world.upgrade("r1")
    [old] = world.replicas("clock")
    for call in (1, 2):
        world.runtime.fail("stop", call)
    with pytest.raises(ConductorError):
        world.upgrade("r2")
    assert world.running("clock") == {"r1": 1}
    calls = [method for method, found in order_of(world, "execute", "stop", "start") if found == old.id]
    assert calls == ["start", "execute", "stop", "stop", "stop", "start"]


def test_a_plan_that_is_refused_is_not_in_the_history_and_thus_not_notified(world: World) -> None:
    world.upgrade("r1")
    world.perform(actions.stop(""))
    recorded = len(world.recorder.history)
    with pytest.raises(ConductorError, match="cannot upgrade web: web is stopped"):
        world.upgrade("r2", "web", plan_only=True)
    assert len(world.recorder.history) == recorded


def test_a_first_deploy_is_recorded_until_its_replicas_are_removed(world: World) -> None:
    """Without a release, nothing else shows that they are not wanted."""
    world.health.unhealthy.add("r1")
    world.runtime.fail("remove")
    with pytest.raises(ConductorError):
        world.upgrade("r1", "web")
    assert len(world.replicas("web")) == 1
    world.recover(["web"])
    assert world.replicas("web") == ()
    assert world.store.journal("web") is None


HOOK = {**WEB, "before_upgrade": {"command": ["bin/migrate"]}}


def test_a_hook_runs_once_in_the_new_revision(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": HOOK})
    world.upgrade("r1")
    created = [spec for (spec,) in world.runtime.called("create")]
    assert [spec.labels["conductor.kind"] for spec in created] == ["hook", "service", "service"]
    world.upgrade("r2", skip_hooks=True)
    assert len(world.runtime.called("create")) == 5
    assert world.runtime.snapshot().tasks == ()


def test_a_hook_that_runs_although_its_start_failed_is_waited_for(tmp_path: Path) -> None:
    """A slow daemon may start it and not answer in time; a migration that is killed in the middle leaves half of its work."""
    world = World(tmp_path, {"web": HOOK})
    world.runtime.behave("r1", Behaviour(exits_after=30.0), kind="hook")
    world.runtime.fail("start", error=RuntimeUnavailable("cannot start container: no answer"), after=True)
    with pytest.raises(ConductorError):
        world.upgrade("r1")
    assert world.clock.monotonic() >= 30.0
    assert world.runtime.snapshot().tasks == ()
    assert world.recorder.history[-1].outcome is Outcome.ROLLED_BACK


def test_a_failed_hook_ends_the_upgrade_and_is_named_as_not_undone(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": HOOK})
    world.upgrade("r1")
    world.runtime.behave("r2", Behaviour(exits_after=0.0, exit_code=7, stderr=("no such table",)), kind="hook")
    with pytest.raises(ConductorError) as failed:
        world.upgrade("r2")
    assert world.running() == {"r1": 2}
    assert any("not undone" in line for line in failed.value.details)
    assert any("no such table" in line for line in failed.value.details)


CRON = {"image": "shop", "count": 0, "cron": {"generate": ["bin/generate-cron"]}}


def test_the_crontab_is_installed_and_removed(tmp_path: Path) -> None:
    world = World(tmp_path, {"cron": CRON})
    world.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=("* * * * * bin/job",)))
    world.upgrade("r1")
    assert "--revision r1" in (world.crontab("cron") or "")
    generators = [spec for (spec,) in world.runtime.called("create") if spec.labels.get(labels.JOB) == GENERATE]
    assert [labels.DEADLINE in spec.labels for spec in generators] == [True]
    world.upgrade("r2")
    assert "--revision r2" in (world.crontab("cron") or "")
    world.perform(actions.rollback(None), "cron")
    assert "--revision r1" in (world.crontab("cron") or "")
    world.perform(actions.stop(""), "cron")
    assert world.crontab("cron") is None


@pytest.mark.parametrize(("program", "warnings"), [("/bin/sh", 0), ("/nonexistent/conductor", 1)])
def test_a_crontab_whose_program_is_missing_is_a_warning(tmp_path: Path, program: str, warnings: int) -> None:
    world = World(tmp_path, {"cron": CRON})
    world.define({"cron": CRON}, cron={"dir": str(tmp_path / "cron"), "command": program})
    world.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=("* * * * * bin/job",)))
    assert world.upgrade("r1").warnings == warnings
    texts = [event.text for event in world.recorder.events if isinstance(event, Warned)]
    assert all(program in text and "ln -s" in text for text in texts)
    assert len(texts) == warnings


def test_an_invalid_crontab_refuses_the_upgrade_before_anything_starts(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": {**WEB, "cron": CRON["cron"]}})
    lines = ("61 * * * * bin/job", "* * * * * ok", "* 61 * * * bin/job", "x", "y")
    world.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=lines))
    with pytest.raises(CrontabError) as refused:
        world.upgrade("r1")
    assert world.replicas() == ()
    assert world.crontab("web") is None
    reason = world.recorder.history[-1].reason
    assert all(str(problem) in reason for problem in refused.value.problems[:3])
    assert reason.endswith(" and 1 more")


def test_an_invalid_env_file_is_named_in_the_history(tmp_path: Path) -> None:
    """By the number of its line: the line may have a secret."""
    env_file = tmp_path / "env"
    env_file.write_text("A=1\nhunter2\n")
    world = World(tmp_path, {"web": {**WEB, "env_file": str(env_file)}})
    with pytest.raises(ConductorError):
        world.upgrade("r1")
    reason = world.recorder.history[-1].reason
    assert f"{env_file}:2: " in reason
    assert "hunter2" not in reason


def test_an_ordinary_setting_of_an_env_file_does_not_block_a_crontab(tmp_path: Path) -> None:
    """Issue 12, point 17: only a secret of the env file does."""
    env_file = tmp_path / "env"
    env_file.write_text("RAILS_ENV=production\nDB_PASSWORD=hunter2\n")
    world = World(tmp_path, {"cron": {**CRON, "env_file": str(env_file)}})
    line = "* * * * * bin/rails runner -e production Job"
    world.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=(line,)))
    world.upgrade("r1")
    assert "-e production" in (world.crontab("cron") or "")
    world.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=("* * * * * bin/job --password hunter2",)))
    with pytest.raises(CrontabError) as caught:
        world.upgrade("r2")
    assert "hunter2" not in str(caught.value.problems)


def test_a_release_of_a_newer_version_is_scaled_and_rolled_back_to(world: World) -> None:
    """Issue 12, point 5."""
    world.upgrade("r1")
    wanted = world.store.wanted("web")
    release = msgspec.structs.replace(
        wanted.live, definition={**wanted.live.definition, "redirect": True}, crontab="* * * * * x &\n"
    )
    world.store.write_wanted(msgspec.structs.replace(wanted, release=release))
    world.perform(actions.scale(3))
    assert world.running() == {"r1": 3}
    assert world.store.wanted("web").live.definition["redirect"] is True
    world.upgrade("r2")
    world.perform(actions.rollback(None))
    assert world.running() == {"r1": 3}
    assert world.store.wanted("web").live.definition["redirect"] is True


def test_an_interruption_before_the_commit_rolls_back(world: World) -> None:
    world.upgrade("r1")
    world.cancellation.stop_at = 3  # the check after the start
    with pytest.raises(Interrupted):
        world.upgrade("r2")
    assert world.running() == {"r1": 2}
    assert world.recorder.history[-1].outcome is Outcome.INTERRUPTED


def test_an_interruption_after_the_commit_finishes(world: World) -> None:
    world.upgrade("r1")
    world.runtime.fail("stop", error=ConductorError("slow"))
    finished = world.upgrade("r2")
    assert world.store.wanted("web").live.revision == "r2"
    assert finished.warnings >= 0


def test_a_drain_that_reaches_its_deadline_is_a_warning(world: World) -> None:
    world.upgrade("r1")
    world.traffic.unfinished = {one.endpoint or "" for one in world.replicas()}
    finished = world.upgrade("r2")
    assert (finished.warnings, finished.exit_code) == (1, 0)


def test_a_replica_that_cannot_be_removed_is_left_to_an_operator(world: World) -> None:
    world.upgrade("r1")
    world.runtime.fail("remove")
    finished = world.upgrade("r2")
    assert finished.exit_code == OperatorError.exit_code
    assert world.running() == {"r2": 2}


def test_a_replica_that_ignores_sigterm_is_killed_with_a_warning(world: World) -> None:
    world.runtime.behave("r1", Behaviour(ignores_sigterm=True))
    world.upgrade("r1")
    assert world.upgrade("r2").warnings == 2


def test_a_replica_whose_stop_signal_is_sigkill_is_stopped_without_a_warning(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": {**WEB, "stop": {"signal": "SIGKILL"}}})
    world.runtime.behave("r1", Behaviour(ignores_sigterm=True))
    world.upgrade("r1")
    assert world.upgrade("r2").warnings == 0


def test_traffic_that_is_down_refuses_before_anything_starts(world: World) -> None:
    world.upgrade("r1")
    world.traffic.running = False
    with pytest.raises(ConductorError):
        world.upgrade("r2")
    assert world.running() == {"r1": 2}
    assert world.recorder.history[-1].outcome is Outcome.REFUSED


def test_a_wrong_address_fails_the_start(world: World) -> None:
    world.upgrade("r1")
    world.runtime.behave("r2", Behaviour(address="10.213.9.9"))
    with pytest.raises(ConductorError):
        world.upgrade("r2")
    assert world.running() == {"r1": 2}


def test_addresses_that_old_workers_know_are_not_given_out(world: World) -> None:
    world.upgrade("r1")
    world.traffic._old.add("10.213.0.4:8080")
    world.upgrade("r2")
    assert "10.213.0.4:8080" not in {one.endpoint for one in world.replicas()}


def test_a_held_lock_is_busy(world: World) -> None:
    with world.context().locks.hold("web"), pytest.raises(BusyError) as busy:
        world.upgrade("r1")
    assert busy.value.holder is not None
    assert busy.value.code == 5


def test_pull_when_the_image_is_absent(world: World) -> None:
    world.runtime.publish_image("shop:r7", digest="shop@sha256:7")
    world.upgrade("r7")
    assert world.store.wanted("web").live.image_digest == "shop@sha256:7"
    with pytest.raises(ConductorError):
        world.upgrade("r8")
    assert world.running() == {"r7": 2}


ACTIONS: dict[str, actions.MakeTransition] = {
    "rollback": actions.rollback(None), "restart": actions.restart, "start": actions.start, "stop": actions.stop(""),
    "scale": actions.scale(3),
}  # fmt: skip


@pytest.mark.parametrize("make", ACTIONS.values(), ids=ACTIONS)
def test_the_plan_of_an_action_changes_nothing(world: World, make: actions.MakeTransition) -> None:
    for revision in ("r1", "r2"):
        world.upgrade(revision)
    if make is actions.start:
        world.perform(actions.stop("a move"))
    wanted, routes, replicas = world.store.wanted("web"), dict(world.traffic.routes), world.replicas("web")
    history = len(world.recorder.history)
    finished = world.perform(make, plan_only=True)
    assert finished.text == "plan only; nothing was changed"
    assert (world.store.wanted("web"), world.traffic.routes, world.replicas("web")) == (wanted, routes, replicas)
    assert (len(world.recorder.history), world.store.journal("web")) == (history, None)


def test_plan_changes_nothing(world: World) -> None:
    world.upgrade("r1")
    created = len(world.runtime.called("create"))
    world.upgrade("r2", plan_only=True)
    assert len(world.runtime.called("create")) == created
    assert world.running() == {"r1": 2}


def test_a_plan_needs_no_lock(world: World) -> None:
    world.upgrade("r1")
    with world.context().locks.hold("web"), world.context().locks.hold(IMAGES):
        planned = world.upgrade("r2", plan_only=True)
        stopped = world.perform(actions.stop(""), plan_only=True)
    assert {planned.text, stopped.text} == {"plan only; nothing was changed"}
    notices = [event.text for event in world.recorder.events if isinstance(event, Notice)]
    busy = re.compile(
        rf"web is being changed by process {os.getpid()} \(test\), which has held the service's lock since \S+; the plan is for its current state"
    )
    assert len(list(filter(busy.fullmatch, notices))) == 2
    assert world.running() == {"r1": 2}


def test_a_plan_interrupts_no_repair_of_supervise(world: World) -> None:
    """`supervise` stops an action and releases its lock when a command waits for it."""
    world.upgrade("r1")
    directory = Path(world.definitions.host.runtime_dir) / "locks"
    with Locks(directory, "supervise", world.clock, world.cancellation, yields=True).hold("web"):
        began = world.clock.monotonic()
        world.perform(actions.stop(""), plan_only=True)
        assert world.clock.monotonic() == began
        assert any("web is being changed by process " in text for text in notices(world))
        world.perform(actions.stop(""), plan_only=True, wait_seconds=5.0)
        assert world.clock.monotonic() > began


@pytest.mark.parametrize("number", [0, 1])
def test_scale_removes_an_unhealthy_replica_first(world: World, number: int) -> None:
    world.upgrade("r1")
    replicas = world.replicas()
    world.health.unhealthy.add(replicas[number].id)
    world.perform(actions.scale(1))
    [kept] = world.replicas()
    assert kept == replicas[1 - number]
    assert world.traffic.routes["web"] == (kept.endpoint,)


def test_an_unhealthy_replica_that_stays_gets_no_traffic_while_others_are_healthy(world: World) -> None:
    world.upgrade("r1")
    bad, good = world.replicas()
    world.health.unhealthy.add(bad.id)
    assert "3 replicas, 1 of them unhealthy" in world.perform(actions.scale(3)).text
    assert world.running() == {"r1": 3}
    routed = world.traffic.routes["web"]
    assert good.endpoint in routed
    assert bad.endpoint not in routed
    assert len(routed) == 2


def test_replicas_that_are_all_unhealthy_keep_the_traffic(world: World) -> None:
    world.upgrade("r1")
    world.health.unhealthy |= {one.id for one in world.replicas()}
    world.perform(actions.scale(1))
    assert world.traffic.routes["web"] == tuple(one.endpoint for one in world.replicas())


def test_a_check_that_cannot_be_made_does_not_make_a_replica_unfit(world: World) -> None:
    world.upgrade("r1")
    first, second = world.replicas()
    world.health.answers[first.id] = CheckResult(ok=False, seconds=0.0, unknown=True)
    world.perform(actions.scale(1))
    assert world.replicas() == (first,)
    assert second.endpoint not in world.traffic.routes["web"]


def test_a_server_template_belongs_to_the_release(world: World, tmp_path: Path) -> None:
    path = tmp_path / "server.j2"
    server = {"listen": ["80"], "names": ["example.com"], "template": str(path)}
    world.define({"web": {**WEB, "nginx": {"server": server}}})
    with pytest.raises(ConductorError):
        world.upgrade("r1")

    def given() -> set[str | None]:
        """Return the templates that the traffic layer was given since the last call."""
        found = {route.template for route in world.traffic.given}
        world.traffic.given.clear()
        return found

    for text, revision in (("one", "r1"), ("two", "r2")):
        path.write_text(text)
        world.upgrade(revision)
        assert given() == {text}
        world.upgrade(revision)  # compares with what is served
        assert given() == {text}
    path.write_text("three")
    world.perform(actions.scale(3))
    assert given() == {"two"}
    path.unlink()
    world.perform(actions.rollback(None))
    assert given() == {"one"}
    path.write_text("four")
    world.restart()
    assert given() == {"four"}
    path.unlink()
    world.define({"web": WORKER})
    world.upgrade("r3")  # without nginx; the route of the release before returns 503
    assert given() == {"four"}


def test_replicas_stop_with_the_grace_of_their_own_release(world: World) -> None:
    world.define({"web": {**WEB, "stop": {"grace": "40s"}}})
    world.upgrade("r1")
    world.define({"web": {**WEB, "stop": {"grace": "2s"}}})
    world.upgrade("r2")
    assert {grace for _, grace in world.runtime.called("stop")} == {40.0}


QUIET = {"command": ["bin/quiet"], "timeout": "3s"}
STOPPERS: dict[str, Callable[[World], object]] = {
    "upgrade": lambda world: world.upgrade("r2"),
    "rollback": lambda world: world.perform(actions.rollback("r0")),
    "restart": lambda world: world.restart(),
    "scale": lambda world: world.perform(actions.scale(0)),
    "stop": lambda world: world.perform(actions.stop("")),
}


def order_of(world: World, *methods: str) -> list[tuple[str, str]]:
    """Return (method, container) of these calls."""
    return [(call.method, call.arguments[0]) for call in world.runtime.calls if call.method in methods]


@pytest.mark.parametrize("order", ["start-first", "stop-first"])
@pytest.mark.parametrize("action", STOPPERS)
def test_a_command_runs_in_each_replica_before_it_is_stopped(tmp_path: Path, action: str, order: str) -> None:
    world = World(tmp_path, {"web": {**WEB, "before_stop": QUIET, "order": order}})
    world.runtime.add_image("shop:r0")
    for revision in ("r0", "r1"):
        world.upgrade(revision)
    old = [one.id for one in world.replicas()]
    world.runtime.calls.clear()
    STOPPERS[action](world)
    for replica in old:
        calls = [method for method, found in order_of(world, "execute", "stop", "remove") if found == replica]
        assert calls == ["execute", "stop", "remove"]
    assert world.runtime.called("execute")[0][1:] == (("bin/quiet",), 3.0)
    assert world.recorder.history[-1].warnings == 0


def test_the_command_before_the_stop_is_that_of_the_replicas_own_release(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": {**WEB, "before_stop": QUIET}})
    world.upgrade("r1")
    world.define({"web": WEB})
    world.upgrade("r2")
    assert len(world.runtime.called("execute")) == 2
    world.upgrade("r3")
    assert len(world.runtime.called("execute")) == 2


def test_new_replicas_of_a_failed_upgrade_get_their_own_command_before_the_stop(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": WEB})
    world.upgrade("r1")
    world.define({"web": {**WEB, "before_stop": QUIET}})
    world.health.unhealthy.add("r2")
    with pytest.raises(GateFailed):
        world.upgrade("r2")
    stopped = [replica for method, replica in order_of(world, "execute", "stop")]
    assert len(stopped) == 4
    assert len(set(stopped)) == 2


@pytest.mark.parametrize("trouble", [{"healthy": False, "answer": "hunter2"}, {"check_hangs": True}])
def test_a_command_before_the_stop_that_fails_is_a_warning_and_the_stop_continues(
    tmp_path: Path, trouble: dict[str, object]
) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    env = {"PASSWORD": {"file": str(tmp_path / "password")}}
    world = World(tmp_path, {"web": {**WEB, "before_stop": QUIET, "env": env}})
    world.upgrade("r1")
    for one in world.replicas():
        world.runtime.change(one.id, **trouble)
    finished = world.upgrade("r2")
    assert (finished.exit_code, finished.warnings, world.running()) == (0, 2, {"r2": 2})
    texts = [event.text for event in world.recorder.events if isinstance(event, Warned)]
    assert all(text.startswith("before_stop for web-r1-") for text in texts)
    assert not any("hunter2" in text for text in texts)
    assert {grace for _, grace in world.runtime.called("stop")} == {30.0}


def test_a_replica_that_exits_while_its_command_runs_is_no_failure(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": {**WEB, "count": 1, "before_stop": QUIET}})
    world.upgrade("r1")
    [old] = world.replicas()
    world.runtime.change(old.id, check_hangs=True, exits_after=1.0, exit_code=0)
    world.runtime.behave("r2", Behaviour())
    assert world.upgrade("r2").warnings == 0


def test_the_command_runs_in_no_replica_that_has_exited(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": {**WEB, "before_stop": QUIET}})
    world.upgrade("r1")
    first, second = world.replicas()
    world.runtime.exit(first.id)
    world.upgrade("r2")
    assert [replica for replica, *_ in world.runtime.called("execute")] == [second.id]


def prune(world: World) -> None:
    """Remove the images and the network, as `docker system prune -a` does when no container uses them."""
    world.runtime.images.clear()
    world.runtime.networks.clear()


AFTER_A_PRUNE: dict[str, Callable[[World], object]] = {
    "start": lambda world: world.perform(actions.start),
    "scale": lambda world: world.perform(actions.scale(3)),
    "restart": lambda world: world.restart(),
    "rollback": lambda world: world.perform(actions.rollback("r1")),
}


def test_the_image_of_a_service_that_has_only_jobs_is_pulled_by_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path, {"cron": CRON})
    world.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=("* * * * * bin/job",)))
    world.upgrade("r1")
    image = world.store.wanted("cron").live.image_id
    prune(world)
    world.runtime.publish_image("shop:r1", image, "")
    world.runtime.images.clear()
    world.restart("cron")
    assert world.runtime.image(image) is not None


@pytest.mark.parametrize("action", AFTER_A_PRUNE)
def test_an_image_that_was_removed_is_pulled_by_its_digest(world: World, action: str) -> None:
    for revision in ("r1", "r2"):
        world.runtime.publish_image(f"shop:{revision}", f"sha256:{revision}", f"shop@sha256:{revision}")
        world.runtime.publish_image(f"shop@sha256:{revision}", f"sha256:{revision}", f"shop@sha256:{revision}")
    world.runtime.images.clear()
    world.upgrade("r1")
    world.upgrade("r2")
    if action == "start":
        world.perform(actions.stop(""))
    prune(world)
    AFTER_A_PRUNE[action](world)
    wanted = world.store.wanted("web")
    revision = "r1" if action == "rollback" else "r2"
    assert (wanted.live.revision, world.running()) == (revision, {revision: 3 if action == "scale" else 2})
    assert world.runtime.called("pull")[-1] == (f"shop@sha256:{revision}",)


@pytest.mark.parametrize("action", AFTER_A_PRUNE)
def test_an_image_that_was_removed_and_cannot_be_pulled(world: World, action: str) -> None:
    world.upgrade("r1")
    world.upgrade("r2")
    if action == "start":
        world.perform(actions.stop(""))
    prune(world)
    with pytest.raises(ConductorError) as raised:
        AFTER_A_PRUNE[action](world)
    revision = "r1" if action == "rollback" else "r2"
    for word in ("web", revision, f"shop:{revision}", "manifest unknown"):
        assert word in raised.value.sentence
    assert world.running() == ({} if action == "start" else {"r2": 2})


def test_an_upgrade_pulls_a_tag_that_moved_only_when_asked_to(world: World) -> None:
    world.upgrade("r1")
    world.runtime.publish_image("shop:r1", "sha256:moved", "shop@sha256:moved")
    assert not world.upgrade("r1").services[0].changed
    world.upgrade("r1", pull=True, plan_only=True)
    assert world.runtime.called("pull") == []
    before = {one.id for one in world.replicas()}
    assert world.upgrade("r1", pull=True).services[0].changed
    assert not before & {one.id for one in world.replicas()}
    live = world.store.wanted("web").live
    assert (live.image_id, live.image_digest) == ("sha256:moved", "shop@sha256:moved")
    assert not world.upgrade("r1", pull=True).services[0].changed


def test_an_image_that_cannot_be_pulled_again_refuses_the_upgrade(world: World) -> None:
    with pytest.raises(ConductorError, match="manifest unknown"):
        world.upgrade("r1", pull=True)
    assert (world.runtime.called("create"), world.recorder.history[-1].outcome) == ([], Outcome.REFUSED)


def test_a_moved_tag_whose_image_fails_is_rolled_back_to_the_image_before(world: World) -> None:
    world.upgrade("r1")
    before = world.store.wanted("web").live
    world.runtime.publish_image("shop:r1", "sha256:moved")
    world.runtime.behave("sha256:moved", Behaviour(healthy=False))
    with pytest.raises(GateFailed):
        world.upgrade("r1", pull=True)
    assert (world.store.wanted("web").live, world.running()) == (before, {"r1": 2})
    world.perform(actions.scale(3))
    assert {world.runtime.spec(one.id).image_id for one in world.replicas()} == {before.image_id}


def test_an_image_name_that_was_given_to_another_image_is_not_used(world: World) -> None:
    world.upgrade("r1")
    prune(world)
    world.runtime.publish_image("shop:r1", "sha256:another")
    with pytest.raises(ConductorError, match="another image"):
        world.perform(actions.scale(3))
    assert world.running() == {"r1": 2}


def test_scaling_down_and_stopping_require_no_image(world: World) -> None:
    world.upgrade("r1")
    prune(world)
    world.perform(actions.scale(1))
    world.perform(actions.stop(""))
    assert (world.running(), world.runtime.called("pull")) == ({}, [])


@pytest.mark.parametrize("order", ["start-first", "stop-first"])
def test_a_missing_file_of_a_volume_refuses_before_anything_stops_or_starts(tmp_path: Path, order: str) -> None:
    world = World(tmp_path, {"web": {**WEB, "volumes": ["/srv/app/settings.yml:/etc/app.yml:ro"], "order": order}})
    world.upgrade("r1")
    world.runtime.missing_files.add("/srv/app/settings.yml")
    with pytest.raises(ConductorError, match="settings"):
        world.upgrade("r2")
    assert world.recorder.history[-1].outcome is Outcome.REFUSED
    assert (world.running(), world.runtime.called("stop"), world.runtime.called("remove")) == ({"r1": 2}, [], [])


@pytest.mark.parametrize("extra", [{}, {"count": 0, "cron": {"generate": ["bin/cron"]}, "nginx": None}])
def test_a_missing_network_refuses_before_anything_starts(tmp_path: Path, extra: dict[str, object]) -> None:
    world = World(tmp_path, {"web": {**WEB, "networks": ["monitoring", {"name": "db", "aliases": ["web"]}], **extra}})
    world.runtime.other_networks = {"monitoring", "db"}
    world.upgrade("r1")
    made = len(world.runtime.called("create"))
    world.runtime.other_networks.remove("db")
    with pytest.raises(ConductorError, match="network db: it does not exist"):
        world.upgrade("r2")
    assert world.recorder.history[-1].outcome is Outcome.REFUSED
    assert (len(world.runtime.called("create")), world.runtime.called("stop")) == (made, [])


def test_replicas_of_every_change_join_the_additional_networks(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": {**WEB, "networks": [{"name": "db", "aliases": ["web"]}]}})
    world.runtime.other_networks = {"db"}
    world.upgrade("r1")
    world.perform(actions.scale(3))
    world.restart()
    specs = [spec for (spec,) in world.runtime.called("create")]
    assert len(specs) == 6
    assert all(spec.joined == (JoinedNetwork(name="db", aliases=("web",)),) for spec in specs)


def test_the_network_of_the_instance_is_created_also_if_a_service_has_aliases_on_it(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": {**WEB, "networks": [{"name": "conductor", "aliases": ["web"]}]}})
    world.upgrade("r1")
    assert {spec.aliases for (spec,) in world.runtime.called("create")} == {("web",)}


def test_an_unreadable_header_of_the_check_refuses_before_anything_starts(tmp_path: Path) -> None:
    headers = {"Authorization": {"file": str(tmp_path / "token")}}
    world = World(tmp_path, {"web": {**WEB, "health": {**WEB["health"], "headers": headers}}})  # type: ignore[dict-item]
    with pytest.raises(ConductorError):
        world.upgrade("r1")
    assert world.runtime.called("create") == []
    (tmp_path / "token").write_text("Bearer hunter2")
    world.upgrade("r1")
    assert "hunter2" not in (tmp_path / "state" / "services" / "web.json").read_text()


def test_a_name_that_requests_may_not_reach_a_service_by_is_a_counted_warning(world: World) -> None:
    world.traffic.check_warnings["web"] = "two server blocks for shop.example"
    finished = world.upgrade("r1")
    assert (finished.warnings, finished.exit_code) == (1, 0)
    assert Warned(text="two server blocks for shop.example", change=finished.change, service_ids=("web",)) in (
        world.recorder.events
    )


@pytest.mark.parametrize(("everything", "refused"), [(True, True), (False, False)])
def test_an_upgrade_that_gets_no_requests_is_rolled_back(world: World, everything: bool, refused: bool) -> None:
    """A name that is lost among others is a counted warning, and so is every name of a restart."""
    world.upgrade("r1")
    lost = Unreached(service="web", name="shop.example", address="443", everything=everything)
    world.traffic.unreached = (lost,)
    if refused:
        with pytest.raises(ConductorError) as failed:
            world.upgrade("r2")
        assert "shop.example" in "".join(failed.value.details)
        assert world.traffic.routes["web"] == tuple(one.endpoint for one in world.replicas())
    else:
        assert world.upgrade("r2").warnings == 1
    assert world.running() == {"r1" if refused else "r2": 2}
    assert world.restart().warnings == 1


def test_an_image_volume_without_a_mount_is_a_warning_at_each_upgrade(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": {**WEB, "volumes": ["/srv/logs:/logs"]}})
    world.runtime.add_image("shop:r2", volumes=("/data", "/logs"))
    assert world.upgrade("r1").warnings == 0
    assert world.upgrade("r2").warnings == 1
    [warning] = [event for event in world.recorder.events if isinstance(event, Warned)]
    assert "/data" in warning.text
    assert "/logs" not in warning.text
    assert world.upgrade("r2", force=True).warnings == 1
    assert world.perform(actions.scale(1)).warnings == 0


def test_volumes_are_kept_as_long_as_their_release(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": WEB})
    world.upgrade("r1")
    world.upgrade("r2")
    assert world.runtime.called("remove_volumes")[-1] == ("web", {"r1", "r2"})
    world.runtime.fail("remove_volumes")
    world.perform(actions.stop(""))
    assert world.running() == {}


@pytest.mark.parametrize("act", ["upgrade", "restart"])
def test_after_a_wait_for_the_lock_the_definition_is_that_of_the_file_now(world: World, act: str) -> None:
    """Chef may write another file while a command with --wait waits for another one to end."""
    world.upgrade("r1")
    before = world.definitions
    world.define({"web": {**WEB, "env": {"NEW": "1"}}})
    world.definitions = before  # as read before the wait
    if act == "upgrade":
        world.upgrade("r2", wait_seconds=5.0)
    else:
        world.perform(actions.restart, wait_seconds=5.0)
    release = world.store.wanted("web").release
    assert release is not None
    assert release.definition["env"] == {"NEW": "1"}


def test_a_drain_of_which_nothing_is_known_is_a_warning(world: World) -> None:
    world.upgrade("r1")
    world.traffic.answers = False
    assert world.upgrade("r2").warnings == 1
    assert any("unknown" in event.text for event in world.recorder.events if isinstance(event, Warned))


@pytest.mark.parametrize("act", ["upgrade", "restart"])
def test_after_a_recovery_the_definition_is_that_of_the_file_now(world: World, act: str) -> None:
    """A command that recovers a change waits for its drain, and for a hook that still runs: Chef may write another file."""
    world.upgrade("r1")
    world.runtime.fail("stop", 1, LockYielded())
    with pytest.raises(LockYielded):
        world.upgrade("r2")
    before = world.definitions
    world.define({"web": {**WEB, "env": {"NEW": "1"}}})
    world.definitions = before  # as read before the recovery
    if act == "upgrade":
        world.upgrade("r3")
    else:
        world.restart()
    release = world.store.wanted("web").release
    assert release is not None
    assert release.definition["env"] == {"NEW": "1"}


def test_a_definition_that_is_broken_after_the_wait_changes_nothing(world: World) -> None:
    world.upgrade("r1")
    (world.directory / "services.yml").write_text("version: 1\nservices: {web: {imag: x}}\n")
    with pytest.raises(ConductorError):
        world.upgrade("r2", wait_seconds=5.0)
    assert world.running() == {"r1": 2}
    assert world.recorder.history[-1].outcome is Outcome.REFUSED


@pytest.mark.parametrize("failures", [1, 2])
def test_a_failed_stop_is_tried_once_more(tmp_path: Path, failures: int) -> None:
    """The removal that follows would end the replica without its grace."""
    world = World(tmp_path, {"web": WORKER})
    world.upgrade("r1")
    (old,) = world.replicas()
    for number in range(1, failures + 1):
        world.runtime.fail("stop", number, ConductorError("cannot stop it"))
    finished = world.upgrade("r2")
    assert [arguments[0] for arguments in world.runtime.called("stop")] == [old.id] * 2
    assert finished.warnings == failures - 1
    assert world.running() == {"r2": 1}


# Several services.


@pytest.fixture
def two(tmp_path: Path) -> World:
    """The services web and worker run r2, and keep r1."""
    made = World(tmp_path, {"web": WEB, "worker": WORKER})
    for revision in ("r1", "r2"):
        made.upgrade(revision, "web", "worker")
    return made


@pytest.mark.parametrize(
    ("make", "revision", "count"),
    [(actions.stop("a move"), "r2", 0), (actions.restart, "r2", 3), (actions.rollback(None), "r1", 3)],
    ids=["stop", "restart", "rollback"],
)
def test_an_action_on_several_services_is_one_change(
    two: World, make: actions.MakeTransition, revision: str, count: int
) -> None:
    finished = two.perform(make, "worker", "web")
    assert {(one.service, one.to, one.changed) for one in finished.services} == {
        ("web", revision, True),
        ("worker", revision, True),
    }
    assert {two.store.wanted(one).change for one in ("web", "worker")} == {finished.change}
    assert sum(two.running(one).get(revision, 0) for one in ("web", "worker")) == count
    assert len([one for one in two.recorder.history if one.change == finished.change]) == 2


def test_a_service_that_is_as_wanted_does_not_keep_the_others_from_starting(two: World) -> None:
    two.perform(actions.stop(""), "web")
    finished = two.perform(actions.start, "web", "worker")
    assert {(one.service, one.changed) for one in finished.services} == {("web", True), ("worker", False)}
    assert (two.running("web"), two.running("worker")) == ({"r2": 2}, {"r2": 1})
    assert not any(one.changed for one in two.perform(actions.start, "web", "worker").services)


def test_an_action_that_one_of_the_services_refuses_changes_none(two: World) -> None:
    two.perform(actions.stop(""), "worker")
    before = two.store.wanted("web")
    with pytest.raises(ConductorError):
        two.perform(actions.restart, "web", "worker")
    assert two.store.wanted("web") == before


def test_a_failure_in_one_of_the_services_rolls_all_back(two: World) -> None:
    two.perform(actions.stop(""), "web", "worker")
    two.health.unhealthy.add("r2")
    with pytest.raises(ConductorError):
        two.perform(actions.start, "web", "worker")
    assert (two.running("web"), two.running("worker")) == ({}, {})
    assert all(two.store.wanted(one).stopped for one in ("web", "worker"))


def test_the_journal_has_all_steps_and_the_history_what_the_drain_cut(world: World) -> None:
    world.upgrade("r1")
    world.traffic.unfinished = {one.endpoint for one in world.replicas() if one.endpoint}
    plans: set[tuple[str, ...]] = set()
    write = world.store.write_journal

    def written(journal: Journal) -> None:
        plans.add(journal.plan)
        write(journal)

    world.store.write_journal = written  # type: ignore[method-assign]
    world.recorder.events.clear()
    world.upgrade("r2")
    assert plans == {tuple(steps(world))}
    assert [entry.cut for entry in world.recorder.history] == [0, 2]


STOP_FIRST = {**WORKER, "order": "stop-first"}


class BlockedRuntime(WatchedRuntime):
    """The first call of `blocks` waits until the test sets `resume`. `reached` is set when it begins, `caller` is its thread."""

    def __init__(self, clock: FakeClock, traffic: FakeTraffic, blocks: str) -> None:
        super().__init__(clock, traffic)
        self.blocks = blocks
        self.reached, self.resume = threading.Event(), threading.Event()
        self.caller = threading.current_thread()

    def _wait(self, method: str) -> None:
        if method == self.blocks and not self.reached.is_set():
            self.caller = threading.current_thread()
            self.reached.set()
            assert self.resume.wait(10)

    def execute(self, container: str, command: tuple[str, ...], timeout_seconds: float) -> CheckResult:
        self._wait("execute")
        return super().execute(container, command, timeout_seconds)

    def stop(self, container: str, grace_seconds: float) -> bool:
        """Like the daemon's: the app has the signal at once, and a call that waits for its exit returns with that exit."""
        started = len(self.called("start"))
        self._wait("stop")
        return len(self.called("start")) == started and super().stop(container, grace_seconds)


def blocked(world: World, blocks: str) -> BlockedRuntime:
    """Give the host such a runtime, and return it."""
    world.runtime = made = BlockedRuntime(world.clock, world.traffic, blocks)
    world.health.runtime = made
    for revision in ("r1", "r2"):
        made.add_image(f"shop:{revision}")
    return made


@pytest.mark.parametrize("blocks", ["execute", "stop"])
def test_a_stop_that_was_left_when_the_lock_was_yielded_stops_no_replica_that_the_next_command_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, blocks: str
) -> None:
    monkeypatch.setattr(parallel, "POLL_SECONDS", 0.001)
    definition = STOP_FIRST if blocks == "stop" else {**STOP_FIRST, "before_stop": QUIET}
    world = World(tmp_path, {"clock": definition})
    runtime = blocked(world, blocks)
    world.upgrade("r1")
    yields = msgspec.structs.replace(
        world.context(), cancellation=YieldCancellation(runtime.reached.is_set, SteppingClock())
    )
    with pytest.raises(LockYielded):
        upgrade(yields, [world.definitions.service("clock")], "r2", Options())
    world.recover(["clock"])
    runtime.resume.set()
    runtime.caller.join(10)
    assert (world.running("clock"), world.store.journal("clock")) == ({"r1": 1}, None)


def test_an_old_replica_gets_no_second_signal_from_a_change_whose_lock_was_yielded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel, "POLL_SECONDS", 0.001)
    world = World(tmp_path, {"web": {**WORKER, "before_stop": QUIET, "stop": {"grace": "10m", "wait": False}}})
    runtime = blocked(world, "execute")
    world.upgrade("r1")
    runtime.behave("r2", Behaviour())
    for one in world.replicas():
        runtime.change(one.id, stops_after=60.0)
    yields = msgspec.structs.replace(
        world.context(), cancellation=YieldCancellation(runtime.reached.is_set, SteppingClock())
    )
    with pytest.raises(LockYielded):
        upgrade(yields, [world.definitions.service("web")], "r2", Options())
    world.recover(["web"])
    runtime.resume.set()
    runtime.caller.join(10)
    assert (world.running(), len(runtime.called("signal"))) == ({"r1": 1, "r2": 1}, 1)


class SteppingClock(FakeClock):
    """A clock that goes on by a second whenever it is read."""

    def monotonic(self) -> float:
        self.advance(1.0)
        return super().monotonic()


def test_calls_that_have_not_begun_when_the_wait_ends_never_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "POLL_SECONDS", 0.001)
    resume, began = threading.Event(), list[int]()

    def call(item: int) -> None:
        began.append(item)
        assert resume.wait(10)

    def meanwhile() -> None:
        if len(began) == parallel.CALLS_AT_ONCE:
            raise LockYielded

    threads = set(threading.enumerate())
    with pytest.raises(LockYielded):
        parallel.for_each(range(parallel.CALLS_AT_ONCE + 5), call, meanwhile)
    resume.set()
    for thread in set(threading.enumerate()) - threads:
        thread.join(10)
    assert sorted(began) == list(range(parallel.CALLS_AT_ONCE))
