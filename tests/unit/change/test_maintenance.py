"""`service maintenance`: what is answered, what keeps running, and how it ends."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from conductor.change import actions
from conductor.errors import ConductorError, LockYielded, UsageError
from conductor.output.events import Finished, Notice, StepStarted, Warned
from conductor.plan.history import Outcome
from conductor.plan.release import Maintenance
from tests.fakes.runtime import Behaviour
from tests.fakes.world import WEB, WORKER, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Service web is deployed."""
    made = World(tmp_path, {"web": WEB})
    made.upgrade("r1")
    made.recorder.events.clear()
    return made


def on(world: World, message: str = "Back at noon.", service: str = "web") -> Finished:
    return world.perform(actions.maintenance_on(message), service)


def off(world: World) -> Finished:
    return world.perform(actions.maintenance_off)


def endpoints(world: World) -> set[str | None]:
    return {one.endpoint for one in world.replicas() if one.running}


def answered(world: World) -> Maintenance | None:
    """Return the maintenance in force, which must be the stored one."""
    found = world.traffic.maintained.get("web")
    assert world.store.wanted("web").maintenance == found
    assert world.store.journal("web") is None
    return found


def test_on_answers_503_and_touches_no_container(world: World) -> None:
    before = world.runtime.snapshot()
    finished = on(world)
    found = answered(world)
    assert found is not None
    assert (found.reason, found.since, found.template) == ("Back at noon.", world.clock.now(), None)
    assert (finished.exit_code, finished.services[0].action) == (0, "maintenance-on")
    assert world.runtime.snapshot() == before
    entry = world.recorder.history[-1]
    assert (entry.action, entry.outcome, entry.reason) == ("maintenance-on", Outcome.DONE, "Back at noon.")


def test_on_returns_when_no_request_is_in_progress(world: World) -> None:
    on(world)
    assert [event.step for event in world.recorder.events if isinstance(event, StepStarted)] == [
        "cutover", "commit", "drain", "history",
    ]  # fmt: skip
    assert set(world.traffic.drained[-1]) == endpoints(world)


def test_requests_that_do_not_end_are_a_warning(world: World) -> None:
    world.traffic.unfinished = {one.endpoint for one in world.replicas() if one.endpoint}
    assert on(world).warnings == 1
    [warned] = [event for event in world.recorder.events if isinstance(event, Warned)]
    assert "2 requests are still in progress" in warned.text
    assert answered(world)


def test_off_sends_requests_to_the_replicas_again(world: World) -> None:
    on(world)
    before, drained = world.runtime.snapshot(), len(world.traffic.drained)
    finished = off(world)
    assert answered(world) is None
    assert set(world.traffic.routes["web"]) == endpoints(world)
    assert (finished.exit_code, finished.services[0].action) == (0, "maintenance-off")
    assert (world.runtime.snapshot(), len(world.traffic.drained)) == (before, drained)
    assert world.recorder.history[-1].action == "maintenance-off"


def test_off_leaves_out_a_replica_that_has_failed_meanwhile(world: World) -> None:
    on(world)
    sick = world.replicas()[0]
    world.health.unhealthy.add(sick.id)
    off(world)
    assert set(world.traffic.routes["web"]) == endpoints(world) - {sick.endpoint}
    assert world.running() == {"r1": 2}


def test_off_never_routes_to_a_container_of_another_release(world: World) -> None:
    on(world)
    for one in world.replicas():
        world.runtime.exit(one.id)
    off(world)
    assert world.traffic.routes["web"] == ()
    assert len(world.replicas()) == 2


def test_on_again_replaces_the_message_and_keeps_who_began_it_and_when(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "anna")
    on(world)
    monkeypatch.setenv("SUDO_USER", "ben")
    began = world.clock.now()
    world.clock.advance(60.0)
    switches = world.traffic.calls.count("switch")
    assert not on(world).services[0].changed
    assert world.traffic.calls.count("switch") == switches
    assert on(world, "Back at two.").services[0].changed
    found = answered(world)
    assert found is not None
    assert (found.reason, found.since) == ("Back at two.", began)
    assert [text.partition(" ")[0] for text in (found.who, world.recorder.history[-1].who)] == ["anna", "ben"]


def test_off_without_a_maintenance_changes_nothing(world: World) -> None:
    calls = list(world.traffic.calls)
    finished = off(world)
    assert (finished.services[0].changed, finished.text) == (False, "web is not in maintenance; nothing to do")
    assert world.traffic.calls == calls


ACTIONS: dict[str, Callable[[World], object]] = {
    "upgrade": lambda world: world.upgrade("r2"),
    "rollback": lambda world: (world.upgrade("r2"), world.perform(actions.rollback(None))),
    "restart": lambda world: world.restart(),
    "scale": lambda world: world.perform(actions.scale(3)),
    "stop and start": lambda world: (world.perform(actions.stop("")), world.perform(actions.start)),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_a_maintenance_stays_until_it_is_ended(world: World, name: str) -> None:
    on(world)
    ACTIONS[name](world)
    assert answered(world)
    assert set(world.traffic.routes["web"]) == endpoints(world)
    assert world.runtime.lost == []
    off(world)
    assert answered(world) is None
    assert set(world.traffic.routes["web"]) == endpoints(world) != set()


def test_a_stopped_service_without_containers_answers_the_page_as_well(world: World) -> None:
    world.perform(actions.stop(""))
    on(world)
    assert answered(world)
    world.perform(actions.scale(1))
    off(world)
    assert answered(world) is None
    assert world.traffic.routes["web"] == ()
    world.perform(actions.start)
    assert set(world.traffic.routes["web"]) == endpoints(world) != set()


def test_an_upgrade_is_gated_in_maintenance_as_always(world: World) -> None:
    on(world)
    world.runtime.behave("r2", Behaviour(exits_after=0.0))
    with pytest.raises(ConductorError):
        world.upgrade("r2")
    assert answered(world)
    assert world.running() == {"r1": 2}


def test_an_upgrade_to_the_live_revision_in_maintenance_changes_nothing(world: World) -> None:
    on(world)
    assert not world.upgrade("r1").services[0].changed
    world.traffic.maintained.clear()  # as when an operator restores nginx's files from a backup
    assert world.upgrade("r1").services[0].changed
    assert answered(world)


def test_a_service_that_loses_nginx_is_no_longer_in_maintenance(world: World) -> None:
    on(world)
    world.define({"web": {**WORKER, "count": 2}})
    world.upgrade("r2")
    assert world.store.wanted("web").maintenance is None


def test_files_that_nginx_rejects_change_nothing(world: World) -> None:
    for act, began in ((on, False), (off, True)):
        world.traffic.fail("check")
        before = world.store.wanted("web")
        with pytest.raises(ConductorError) as refused:
            act(world)
        assert refused.value.sentence.startswith(f"cannot {'end' if began else 'start'} maintenance for web: ")
        assert world.store.wanted("web") == before
        assert (answered(world) is not None) is began
        assert world.recorder.history[-1].outcome is Outcome.REFUSED
        on(world)


@pytest.mark.parametrize("at", ["recorded", "after"])
def test_a_reload_that_cannot_be_verified_is_undone(world: World, at: str) -> None:
    for act, began in ((on, False), (off, True)):
        world.traffic.fail("switch", at=at)
        with pytest.raises(ConductorError):
            act(world)
        assert (answered(world) is not None) is began
        assert set(world.traffic.routes["web"]) == endpoints(world)
        assert world.recorder.history[-1].outcome is Outcome.ROLLED_BACK
        on(world)


def test_a_plan_shows_the_change_of_nginx_and_makes_none(world: World) -> None:
    calls = len(world.runtime.called("create"))
    make = actions.maintenance_on("Back at noon.")
    world.perform(make, plan_only=True)
    notices = [event.text for event in world.recorder.events if isinstance(event, Notice)]
    assert " cutover  return 503 for upstream web (maintenance)" in notices
    assert "+503: Back at noon." in notices
    assert not any(text.startswith(("-10.", "+10.", "+new-")) for text in notices)
    assert answered(world) is None
    assert (len(world.runtime.called("create")), world.recorder.history[1:]) == (calls, [])


def test_a_plan_recovers_nothing(world: World) -> None:
    world.traffic.fail("drain", error=LockYielded())
    with pytest.raises(LockYielded):
        world.upgrade("r2")
    journal = world.store.journal("web")
    make = actions.maintenance_on("x")
    actions.perform(world.context(), {"web": None}, make, wait_seconds=0.0, plan_only=True)
    assert world.store.journal("web") == journal
    assert any(isinstance(event, Notice) and "recover" in event.text for event in world.recorder.events)


def test_a_service_that_was_never_deployed_or_has_no_nginx_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": WEB, "worker": WORKER})
    world.upgrade("r1", "worker")
    for service in ("web", "worker"):
        with pytest.raises(ConductorError):
            on(world, service=service)
        assert world.store.wanted(service).maintenance is None


def test_an_own_page_is_read_when_the_maintenance_begins(world: World, tmp_path: Path) -> None:
    """From the file of the definitions, without an upgrade; later changes of either have no effect."""
    page = tmp_path / "page.html"
    world.define({"web": {**WEB, "nginx": {"maintenance_page": str(page)}}})
    with pytest.raises(UsageError) as failed:
        on(world)
    assert str(page) in failed.value.sentence
    assert answered(world) is None
    page.write_text("<p>{{ message }}</p>")
    on(world)
    page.write_text("later")
    world.upgrade("r2")
    found = answered(world)
    assert found is not None
    assert found.template == "<p>{{ message }}</p>"
    on(world)
    assert msgspec.structs.replace(found, template="later") == answered(world)


def test_the_message_is_not_in_the_command_of_the_history(world: World) -> None:
    """The history has it as the reason."""
    on(world, "Back at noon.")
    assert "noon" not in world.recorder.history[-1].command


def test_a_failed_start_of_maintenance_is_reported_in_words(world: World) -> None:
    world.upgrade("r1")
    world.traffic.fail("switch")
    with pytest.raises(ConductorError) as failed:
        world.perform(actions.maintenance_on("x"))
    assert failed.value.sentence.startswith("cannot start maintenance for web: ")
    assert "roll back the start of maintenance for web" in [
        one.text for one in world.recorder.events if isinstance(one, StepStarted)
    ]


def test_the_message_stays_until_another_one_is_given(world: World) -> None:
    world.upgrade("r1")
    reasons = []
    for message in (None, "Back at noon.", None):
        world.perform(actions.maintenance_on(message))
        reasons.append(world.store.wanted("web").maintenance.reason)
    assert reasons == [actions.MAINTENANCE_MESSAGE, "Back at noon.", "Back at noon."]
