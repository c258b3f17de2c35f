"""Which entries of the history cause notifications, and that each has the facts of its entry and no secret."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from conductor.change import actions
from conductor.change.context import Context
from conductor.change.pause import pause
from conductor.definitions.host import Host
from conductor.errors import ConductorError, LockYielded
from conductor.notify.history import NotifyingHistory, host_name
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.notification import Notification
from conductor.plan.replica import CheckResult
from tests.fakes.runtime import Behaviour
from tests.fakes.world import WEB, WORKER, World

SECRET = "hunter2-of-the-app"


class NotifiedWorld(World):
    """A world in which each command has a history that also makes notifications."""

    def __init__(self, directory: Path, services: dict[str, dict[str, Any]]) -> None:
        self.made: list[Notification] = []
        super().__init__(directory, services)

    def context(self, host: Host | None = None) -> Context:
        context = super().context(host)
        return msgspec.structs.replace(context, history=NotifyingHistory(self.recorder, self.made.append))

    def ends(self) -> list[tuple[str, str | None, Outcome | None]]:
        return [(one.event, one.action, one.outcome) for one in self.made]


@pytest.fixture
def world(tmp_path: Path) -> NotifiedWorld:
    (tmp_path / "password").write_text(f"{SECRET}\n")
    env = {"PASSWORD": {"file": str(tmp_path / "password")}}
    return NotifiedWorld(tmp_path, {"web": {**WEB, "env": env}, "worker": WORKER})


def test_a_change_of_several_services_is_one_notification_each(world: NotifiedWorld) -> None:
    world.upgrade("r1")
    assert [(one.event, one.service) for one in world.made] == [("succeeded", "web"), ("succeeded", "worker")]
    assert len({one.change for one in world.made}) == 1


def test_a_time_that_cannot_be_read_is_no_failure(world: NotifiedWorld) -> None:
    entry = HistoryEntry(at="2026-01-01T00:00:00Z", service="web", action="upgrade", outcome=Outcome.DONE, began="soon")
    world.context().history.append(entry)
    assert [one.duration for one in world.made] == [None]


def test_the_facts_are_those_of_the_entry(world: NotifiedWorld) -> None:
    world.upgrade("r1", "web")
    world.health.unhealthy.add("r2")
    with pytest.raises(ConductorError):
        world.upgrade("r2", "web")
    entry, made = world.recorder.history[-1], world.made[-1]
    assert (made.event, made.outcome) == ("failed", Outcome.ROLLED_BACK)
    assert (made.service, made.host, made.version) == ("web", host_name(), 1)
    assert (made.when, made.who, made.action, made.change) == (entry.at, entry.who, "upgrade", entry.change)
    assert (made.from_, made.to, made.reason) == ("r1", "r2", entry.reason)
    assert made.reason
    assert made.duration is not None
    assert made.duration >= world.health.failure_seconds  # of the gate
    document = msgspec.json.decode(msgspec.json.encode(made))
    assert list(document) == [
        "version", "event", "host", "service", "when", "who", "action", "change", "from", "to", "outcome", "duration",
        "reason", "wanted", "healthy",
    ]  # fmt: skip


def test_a_refused_upgrade_has_failed(world: NotifiedWorld) -> None:
    with pytest.raises(ConductorError):
        world.upgrade("r9", "web")
    assert world.ends() == [("failed", "upgrade", Outcome.REFUSED)]
    assert (world.made[0].from_, world.made[0].to, world.made[0].duration) == (None, "r9", None)


def test_an_interrupted_upgrade_is_rolled_back(world: NotifiedWorld) -> None:
    world.cancellation.stop_at = 2
    with pytest.raises(ConductorError):
        world.upgrade("r1", "web")
    assert world.ends() == [("interrupted", "upgrade", Outcome.INTERRUPTED)]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("switch", ("interrupted", "upgrade", Outcome.RECOVERED_ROLLED_BACK)),
        ("drain", ("succeeded", "upgrade", Outcome.RECOVERED)),
    ],
)
def test_the_recovery_of_a_killed_upgrade_sends_its_notification(
    world: NotifiedWorld, call: str, expected: tuple[str, str, Outcome]
) -> None:
    world.upgrade("r1", "web")
    world.made.clear()
    world.traffic.fail(call, error=LockYielded())  # as SIGKILL: nothing is undone
    with pytest.raises(LockYielded):
        world.upgrade("r2", "web")
    assert world.made == []
    world.recover(["web"])
    assert world.ends() == [expected]


def test_a_change_that_could_not_be_recorded_is_notified_later(world: NotifiedWorld) -> None:
    append, full = world.recorder.append, True

    def on_a_full_disk(entry: HistoryEntry) -> None:
        if full:
            raise ConductorError("cannot write: no space left on device")
        append(entry)

    world.recorder.append = on_a_full_disk  # type: ignore[method-assign]
    world.upgrade("r1", "web")
    assert world.made == []
    full = False
    world.recover(["web"])
    assert world.ends() == [("succeeded", "upgrade", Outcome.RECOVERED)]


def test_every_kind_of_change(world: NotifiedWorld) -> None:
    world.upgrade("r1", "web")
    world.upgrade("r2", "web")
    for make in (
        actions.rollback(None), actions.restart, actions.scale(1), actions.stop("maintenance"), actions.start,
        actions.maintenance_on("Back at noon."), actions.maintenance_off,
    ):  # fmt: skip
        world.perform(make)
    pause(world.context(), "web", "debugging", None, 0.0)
    made = ["upgrade", "upgrade", "rollback", "restart", "scale", "stop", "start", "maintenance-on", "maintenance-off"]
    assert [one.action for one in world.made] == made
    assert {one.event for one in world.made} == {"succeeded"}
    assert [one.reason for one in world.made] == [*[None] * 5, "maintenance", None, "Back at noon.", None]


@pytest.mark.parametrize("action", ["repair", "reroute", "restart-exited", "cron", "gc", "pause"])
@pytest.mark.parametrize("outcome", Outcome)
def test_other_entries_are_only_written(action: Any, outcome: Outcome) -> None:
    written: list[HistoryEntry] = []

    class Written:
        def append(self, entry: HistoryEntry) -> None:
            written.append(entry)

    made: list[Notification] = []
    entry = HistoryEntry(at="2026-01-01T00:00:00.000Z", service="web", action=action, outcome=outcome)
    NotifyingHistory(Written(), made.append).append(entry)
    assert (written, made) == ([entry], [])


def test_no_notification_has_a_secret(world: NotifiedWorld) -> None:
    """The app prints its secret in its log, in the answer to a check, and in its hook."""
    world.upgrade("r1", "web")
    leaky = CheckResult(ok=False, seconds=0.0, status=500, output=SECRET, error=SECRET)
    world.health.answers["r2"] = leaky
    world.runtime.behave("r2", Behaviour(stdout=(SECRET,), stderr=(SECRET,)))
    with pytest.raises(ConductorError):
        world.upgrade("r2", "web")
    web = world.definitions.services["web"].written
    world.define({"web": {**web, "before_upgrade": {"command": ["migrate"]}}, "worker": WORKER})
    failing = Behaviour(exits_after=0.0, exit_code=1, stdout=(SECRET,), stderr=(SECRET,))
    world.runtime.behave("web", failing, kind="hook")
    with pytest.raises(ConductorError):
        world.upgrade("r3", "web")
    (world.directory / "password").write_bytes(f"{SECRET}\xff".encode("latin-1"))  # the file cannot be parsed
    with pytest.raises(ConductorError):
        world.upgrade("r1", "web", force=True)
    assert [one.event for one in world.made] == ["succeeded", "failed", "failed", "failed"]
    assert all(one.reason for one in world.made[1:])
    assert "[secret]" in str(world.made[1].reason)  # the answer to the check
    assert SECRET.encode() not in msgspec.json.encode(world.made)
