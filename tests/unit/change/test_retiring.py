"""`stop: {wait: false}`: a deploy sends the stop signal to old replicas, and `supervise` or a later change removes them."""

from pathlib import Path

import msgspec
import pytest

from conductor.change import actions
from conductor.change.retiring import killed_text
from conductor.errors import ConductorError, LockYielded, OperatorError
from conductor.output.events import Notice, Warned
from conductor.plan.history import Outcome
from conductor.plan.replica import Containers
from conductor.runtime.port import RuntimeUnavailable
from conductor.snapshot import notes
from conductor.snapshot.services import CheckOutcome, ServiceCondition, service_rows
from tests.fakes.runtime import Behaviour
from tests.fakes.world import WEB, WORKER, World

LATER = {**WORKER, "count": 2, "stop": {"grace": "10m", "wait": False}}
MINUTE = 60.0


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two workers run r1; they exit a minute after their stop signal."""
    made = World(tmp_path, {"web": LATER})
    made.runtime.behave("r1", Behaviour(stops_after=MINUTE))
    made.upgrade("r1")
    return made


def warnings(world: World) -> list[str]:
    return [event.text for event in world.recorder.events if isinstance(event, Warned)]


def test_a_deploy_does_not_wait_for_old_replicas(world: World) -> None:
    old = {one.id for one in world.replicas()}
    began = world.clock.wall()
    finished = world.upgrade("r2")
    assert (finished.exit_code, finished.warnings, world.running()) == (0, 0, {"r1": 2, "r2": 2})
    assert world.runtime.called("stop") == []
    assert {replica for replica, _ in world.runtime.called("signal")} == old
    retiring = world.store.wanted("web").retiring
    assert {(one.id, one.grace) for one in retiring} == {(replica, 600.0) for replica in old}
    assert all(began + 600 <= one.until <= world.clock.wall() + 600 for one in retiring)
    assert world.store.journal("web") is None
    notice = "2 replicas of web may keep running for another 10m; supervise or the next change will remove them"
    assert notice in [event.text for event in world.recorder.events if isinstance(event, Notice)]


def test_old_replicas_that_have_exited_at_once_are_removed_by_the_deploy_itself(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": LATER})
    for revision in ("r1", "r2"):
        world.upgrade(revision)
    assert {one.revision for one in world.replicas()} == {"r2"}
    assert (world.store.wanted("web").retiring, world.runtime.called("stop")) == ((), [])


def test_the_next_change_leaves_old_replicas_alone_until_they_have_exited(world: World) -> None:
    old = {one.name for one in world.replicas()}
    world.upgrade("r2")
    before = world.store.wanted("web").retiring
    world.upgrade("r3")
    assert world.running() == {"r1": 2, "r3": 2}
    assert world.store.wanted("web").retiring == before
    assert len(world.runtime.called("signal")) == 4
    world.perform(actions.scale(1))
    assert world.running() == {"r1": 2, "r3": 1}
    world.clock.advance(MINUTE)
    world.perform(actions.scale(2))
    assert {one.revision for one in world.replicas()} == {"r3"}
    assert (world.store.wanted("web").retiring, warnings(world)) == ((), [])
    assert old <= set(world.store.kept_logs("web"))


@pytest.mark.parametrize("healthy", [True, False])
def test_the_command_before_the_stop_runs_before_the_signal(world: World, healthy: bool) -> None:
    world.define({"web": {**LATER, "before_stop": {"command": ["bin/quiet"]}}})
    world.restart()
    world.runtime.calls.clear()
    old = [one for one in world.replicas() if one.release == world.store.wanted("web").live.id]
    for one in old:
        world.runtime.change(one.id, healthy=healthy)
    assert world.upgrade("r2").warnings == (0 if healthy else 2)
    for one in old:
        calls = [call.method for call in world.runtime.calls if call.arguments[:1] == (one.id,)]
        assert [method for method in calls if method in {"execute", "signal"}] == ["execute", "signal"]


def test_the_live_revision_again_changes_nothing_while_old_replicas_stop(world: World) -> None:
    world.upgrade("r2")
    assert not world.upgrade("r2").services[0].changed
    assert not world.perform(actions.start).services[0].changed


def test_an_old_replica_that_does_not_stop_is_killed_after_its_grace(world: World) -> None:
    first, _ = world.replicas()
    world.runtime.change(first.id, ignores_sigterm=True)
    world.upgrade("r2")
    world.clock.advance(580.0)  # the check of each replica takes a second
    world.perform(actions.scale(1))
    assert world.running() == {"r1": 1, "r2": 1}
    world.clock.advance(20.0)
    finished = world.perform(actions.scale(2))
    assert (world.running(), finished.warnings) == ({"r2": 2}, 1)
    assert warnings(world) == [killed_text(first.name, 600.0, world.definitions.service("web").service)]


@pytest.mark.parametrize(
    ("keys", "advice"),
    [
        ({}, "; unless the app needs more time, set init: true or handle SIGTERM in the app"),
        (
            {"stop": {"signal": "SIGQUIT"}},
            "; unless the app needs more time, set init: true or handle SIGQUIT in the app",
        ),
        ({"init": True}, ""),
    ],
)
def test_a_killed_replica_without_an_init_process_is_advice(world: World, keys: dict[str, object], advice: str) -> None:
    world.define({"web": {**WORKER, **keys}})
    service = world.definitions.service("web").service
    assert killed_text("web-1", 600.0, service) == f"web-1 did not stop within 10m and was killed{advice}"
    assert killed_text("web-1", 600.0, None) == "web-1 did not stop within 10m and was killed"


def test_a_removal_that_fails_is_tried_again(world: World) -> None:
    world.upgrade("r2")
    world.clock.advance(MINUTE)
    world.runtime.fail("remove")
    assert world.perform(actions.scale(3)).warnings == 1
    assert len(world.store.wanted("web").retiring) == 1
    world.perform(actions.scale(2))
    assert world.store.wanted("web").retiring == ()
    assert {one.revision for one in world.replicas()} == {"r2"}


def test_an_old_replica_that_cannot_get_the_signal_is_stopped_and_waited_for(world: World) -> None:
    world.runtime.fail("signal")
    assert world.upgrade("r2").warnings == 0
    assert len(world.runtime.called("stop")) == 1
    assert (world.running(), len(world.store.wanted("web").retiring)) == ({"r1": 1, "r2": 2}, 1)


def test_an_interruption_between_the_signal_and_its_record_repeats_the_signal(world: World) -> None:
    world.runtime.fail("signal", 2, LockYielded(), after=True)
    with pytest.raises(LockYielded):
        world.upgrade("r2")
    assert world.store.wanted("web").retiring == ()
    world.recover(["web"])
    assert (world.running(), len(world.store.wanted("web").retiring)) == ({"r1": 2, "r2": 2}, 2)
    assert len(world.runtime.called("signal")) == 4
    assert world.recorder.history[-1].outcome is Outcome.RECOVERED


@pytest.mark.parametrize("act", [actions.stop(""), actions.scale(0)], ids=["stop", "scale"])
def test_only_deploys_do_not_wait(world: World, act: actions.MakeTransition) -> None:
    world.perform(act)
    assert (world.running(), world.runtime.called("signal")) == ({}, [])


def test_a_stop_waits_for_those_of_earlier_deploys(world: World) -> None:
    world.upgrade("r2")
    began = world.clock.wall()
    assert world.perform(actions.stop("")).warnings == 0
    assert (world.running(), world.replicas()) == ({}, ())
    assert MINUTE <= world.clock.wall() - began < MINUTE + 10
    assert len(world.runtime.called("signal")) == 2


def test_a_stop_waits_no_longer_than_their_grace(world: World) -> None:
    for one in world.replicas():
        world.runtime.change(one.id, ignores_sigterm=True)
    world.upgrade("r2")
    assert world.perform(actions.stop("")).warnings == 2
    assert world.replicas() == ()


def test_a_stop_does_not_wait_for_one_that_cannot_be_removed(world: World) -> None:
    world.upgrade("r2")
    world.clock.advance(MINUTE)
    for _ in range(2):
        world.runtime.fail("remove", error=ConductorError("stuck"))
    world.perform(actions.stop(""))
    assert "r2" not in world.running()


def test_a_service_that_becomes_stop_first_starts_nothing_beside_them(world: World) -> None:
    world.upgrade("r2")
    world.define({"web": {**LATER, "order": "stop-first", "stop": {}}})
    world.runtime.overlaps.clear()
    world.upgrade("r3")
    assert (world.running(), world.runtime.overlaps) == ({"r3": 2}, [])
    assert {one.revision for one in world.replicas()} == {"r3"}


def test_the_release_of_the_old_replicas_decides(world: World) -> None:
    world.define({"web": {**LATER, "stop": {"grace": "10m"}}})
    world.upgrade("r2")
    assert len(world.store.wanted("web").retiring) == 2
    world.upgrade("r3")
    assert (world.running(), len(world.runtime.called("stop"))) == ({"r1": 2, "r3": 2}, 2)


def test_a_failed_upgrade_leaves_them_alone(world: World) -> None:
    for one in world.replicas():
        world.runtime.change(one.id, ignores_sigterm=True)
    world.upgrade("r2")
    world.runtime.behave("r3", Behaviour(exits_after=0.0, exit_code=1))
    with pytest.raises(ConductorError):
        world.upgrade("r3")
    assert world.running() == {"r1": 2, "r2": 2}
    assert len(world.store.wanted("web").retiring) == 2


def test_behind_nginx_they_get_the_signal_after_the_drain(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": {**WEB, "stop": {"grace": "10m", "wait": False}}})
    world.runtime.behave("r1", Behaviour(stops_after=MINUTE))
    world.upgrade("r1")
    old = {one.endpoint for one in world.replicas()}
    world.upgrade("r2")
    assert world.runtime.lost == []
    assert [set(endpoints) for endpoints in world.traffic.drained] == [old]
    world.upgrade("r3")
    new = {one.endpoint for one in world.replicas() if one.revision == "r3"}
    assert not new & old
    assert set(world.traffic.routes["web"]) == new


def test_they_are_shown_as_stopping_and_not_as_strays(world: World) -> None:
    world.upgrade("r2")
    checks = len(world.health.checks)
    [row] = service_rows(world.definitions, world.context())
    assert (row.condition, row.running) == (ServiceCondition.OK, 2)
    old = [one for one in row.replicas if one.revision == "r1"]
    assert [one.health for one in old] == [CheckOutcome.NOT_CHECKED] * 2
    assert len(world.health.checks) == checks + 2
    assert notes.Retiring(names=tuple(one.name for one in old)) in row.notes
    assert not any(isinstance(note, notes.Stray) for note in row.notes)


def test_a_state_of_an_older_version_has_none(world: World) -> None:
    stored = msgspec.json.decode((world.directory / "state" / "services" / "web.json").read_bytes())
    del stored["retiring"]
    (world.directory / "state" / "services" / "web.json").write_bytes(msgspec.json.encode(stored))
    assert world.store.wanted("web").retiring == ()


def test_the_kept_log_hides_a_secret_that_only_its_own_definition_has(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("hunter2-of-r1")
    world = World(tmp_path, {"web": {**LATER, "env": {"API_KEY": {"file": str(tmp_path / "key")}}}})
    world.runtime.behave("r1", Behaviour(stops_after=MINUTE, stdout=("the key is hunter2-of-r1",)))
    world.upgrade("r1")
    old = [one.name for one in world.replicas()]
    world.define({"web": LATER})
    world.restart()  # no release of the same revision is kept
    world.clock.advance(MINUTE)
    world.perform(actions.scale(1))
    for name in old:
        log = world.store.kept_log("web", name)
        assert log is not None
        assert [line.text for line in log.lines] == ["the key is [secret]"]


@pytest.mark.parametrize("trouble", ["remove", "containers"])
def test_a_service_that_becomes_stop_first_starts_nothing_beside_one_that_cannot_be_removed(
    world: World, trouble: str
) -> None:
    for one in world.replicas():
        world.runtime.change(one.id, ignores_sigterm=True)
    world.upgrade("r2")
    world.define({"web": {**LATER, "order": "stop-first", "stop": {}}})
    world.runtime.overlaps.clear()
    world.clock.advance(700.0 if trouble == "remove" else 0.0)
    for number in (1, 2) if trouble == "remove" else (2,):  # the first list is that of the transition
        world.runtime.fail(trouble, number)
    with pytest.raises(ConductorError, match="did not stop" if trouble == "remove" else "cannot containers"):
        world.upgrade("r3")
    assert world.runtime.overlaps == []
    assert world.running()["r2"] == 2


def test_a_stop_waits_for_those_of_earlier_deploys_also_without_current_replicas(world: World) -> None:
    world.upgrade("r2")
    world.perform(actions.scale(0))
    assert world.running() == {"r1": 2}
    world.perform(actions.stop(""))
    assert world.replicas() == ()


def test_a_stop_is_not_done_while_it_is_not_known_whether_those_of_earlier_deploys_run(world: World) -> None:
    world.upgrade("r2")
    listed = world.runtime.containers

    def containers(service: str | None = None) -> Containers:
        if world.store.wanted("web").stopped:  # after the commit
            world.runtime.containers = listed  # type: ignore[method-assign]
            raise RuntimeUnavailable("cannot list containers: Docker did not answer")
        return listed(service)

    world.runtime.containers = containers  # type: ignore[method-assign]
    with pytest.raises(OperatorError, match="the stop is not finished: cannot list containers"):
        world.perform(actions.stop(""))
    assert "r1" in world.running()
    world.recover(["web"])
    assert world.replicas() == ()
