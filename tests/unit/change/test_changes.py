"""Changes on a host in memory: what each action does when all goes well, and how each refusal and failure ends."""

from collections.abc import Callable, Collection
from pathlib import Path

import msgspec
import pytest

from conductor.change import actions
from conductor.change.gate import GateFailed
from conductor.cron.table import CrontabError
from conductor.errors import BusyError, ConductorError, Interrupted, OperatorError
from conductor.output.events import StepStarted, Warned
from conductor.plan.history import Outcome
from conductor.plan.replica import CheckResult
from conductor.plan.route import Cutover, Route
from tests.fakes.runtime import Behaviour
from tests.fakes.world import WEB, WORKER, World


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


def test_the_live_revision_again_changes_nothing(world: World) -> None:
    world.upgrade("r1")
    calls = len(world.runtime.called("create"))
    finished = world.upgrade("r1")
    assert not finished.services[0].changed
    assert len(world.runtime.called("create")) == calls
    assert world.upgrade("r1", force=True).services[0].changed


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
    with pytest.raises(ConductorError):
        world.upgrade("r2")
    world.perform(actions.start)
    assert world.running() == {"r1": 2}
    assert not world.perform(actions.start).services[0].changed


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
    assert world.recorder.history[-1].outcome is Outcome.ROLLED_BACK


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
    world.runtime.fail("stop", 2)  # the first one is the old replica
    world.runtime.fail("remove")
    with pytest.raises(ConductorError):
        world.upgrade("r2")
    assert (world.running("clock"), world.runtime.overlaps) == ({"r2": 1}, [])
    world.recover(["clock"])
    assert world.running("clock") == {"r1": 1}


HOOK = {**WEB, "before_upgrade": {"command": ["bin/migrate"]}}


def test_a_hook_runs_once_in_the_new_revision(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": HOOK})
    world.upgrade("r1")
    created = [spec for (spec,) in world.runtime.called("create")]
    assert [spec.labels["conductor.kind"] for spec in created] == ["hook", "service", "service"]
    world.upgrade("r2", skip_hooks=True)
    assert len(world.runtime.called("create")) == 5
    assert world.runtime.snapshot().tasks == ()


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
    world.upgrade("r2")
    assert "--revision r2" in (world.crontab("cron") or "")
    world.perform(actions.rollback(None), "cron")
    assert "--revision r1" in (world.crontab("cron") or "")
    world.perform(actions.stop(""), "cron")
    assert world.crontab("cron") is None


def test_an_invalid_crontab_refuses_the_upgrade_before_anything_starts(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": {**WEB, "cron": CRON["cron"]}})
    world.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=("61 * * * * bin/job",)))
    with pytest.raises(ConductorError):
        world.upgrade("r1")
    assert world.replicas() == ()
    assert world.crontab("web") is None


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


def test_plan_changes_nothing(world: World) -> None:
    world.upgrade("r1")
    created = len(world.runtime.called("create"))
    world.upgrade("r2", plan_only=True)
    assert len(world.runtime.called("create")) == created
    assert world.running() == {"r1": 2}


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
    templates: list[str | None] = []
    switch = world.traffic.switch

    def watch(routes: Collection[Route], record: Callable[[Cutover], None]) -> None:
        templates.extend(route.template for route in routes)
        switch(routes, record)

    world.traffic.switch = watch  # type: ignore[method-assign]
    for text, revision in (("one", "r1"), ("two", "r2")):
        path.write_text(text)
        world.upgrade(revision)
    path.write_text("three")
    world.perform(actions.scale(3))
    path.unlink()
    world.perform(actions.rollback(None))
    assert templates == ["one", "two", "two", "one"]
    path.write_text("four")
    world.restart()
    assert templates[-1] == "four"


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


def test_a_name_that_requests_may_not_reach_a_service_by_is_a_counted_warning(world: World) -> None:
    world.traffic.check_warnings["web"] = "two server blocks for shop.example"
    finished = world.upgrade("r1")
    assert (finished.warnings, finished.exit_code) == (1, 0)
    assert Warned(text="two server blocks for shop.example", change=finished.change, service_ids=("web",)) in (
        world.recorder.events
    )


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
