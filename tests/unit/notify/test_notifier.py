"""Which settings apply, what is delivered, and the record of failures. Commands are real processes."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conductor.clock import Clock
from conductor.definitions.host import Notify
from conductor.notify.notifier import Attempt, Notifier, run_all, unusable
from conductor.plan.notification import Notification
from conductor.state.notifications import NotificationRecords
from tests.fakes.world import WEB, WORKER, World

FAILED = Notification(
    event="failed", host="h", service="web", when="2026-01-01T00:00:00.000Z", reason="the gate failed"
)


def notifier_of(world: World) -> Notifier:
    return Notifier(lambda: world.definitions, world.store, Clock())


def appends_to(path: Path) -> list[str]:
    return ["/bin/sh", "-c", f"cat >>{path}"]


def received(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def world_with(tmp_path: Path, service: Any = None, host: Any = None) -> World:
    world = World(tmp_path, {})
    world.define(
        {"web": {**WEB, **({"notify": service} if service else {})}, "worker": WORKER},
        **({"notify": host} if host else {}),
    )
    return world


def test_the_document_is_delivered(tmp_path: Path) -> None:
    world = world_with(tmp_path, appends_to(tmp_path / "got"))
    assert notifier_of(world).deliver([FAILED]) == []
    assert received(tmp_path / "got") == [msgspec.to_builtins(FAILED)]


@pytest.mark.parametrize("event", ["succeeded", "failed", "interrupted", "unhealthy", "healed", "backing-off", "test"])
@pytest.mark.parametrize(
    ("chosen", "events"),
    [
        (None, {"failed", "interrupted", "unhealthy", "healed", "backing-off"}),
        (["succeeded"], {"succeeded"}),
        ([], set()),
    ],
    ids=["by default", "one", "none"],
)
def test_only_the_chosen_events_are_delivered(
    tmp_path: Path, event: Any, chosen: list[str] | None, events: set[str]
) -> None:
    notify = {"command": appends_to(tmp_path / "got"), **({} if chosen is None else {"on": chosen})}
    world = world_with(tmp_path, notify)
    notifier_of(world).deliver([msgspec.structs.replace(FAILED, event=event)])
    assert bool(received(tmp_path / "got")) is (event in events or event == "test")


def test_the_settings_of_a_service_replace_those_of_the_host(tmp_path: Path) -> None:
    world = world_with(tmp_path, {"on": []}, appends_to(tmp_path / "host"))
    found = notifier_of(world)
    for service in ("web", "worker", "unknown", None):
        assert found.deliver([msgspec.structs.replace(FAILED, service=service)]) == []
    assert [one["service"] for one in received(tmp_path / "host")] == ["worker", "unknown", None]


def test_without_settings_nothing_is_delivered(tmp_path: Path) -> None:
    found = notifier_of(world_with(tmp_path))
    assert found.settings("web") is None
    assert found.deliver([FAILED]) == []


def test_a_service_without_a_valid_definition_has_the_settings_of_its_release(tmp_path: Path) -> None:
    world = world_with(tmp_path, ["one"], ["host"])
    world.upgrade("r1", "web")
    for services in ({"web": {**WEB, "notify": ["two"], "count": "x"}}, {}):
        world.define(services, notify=["host"])
        assert notifier_of(world).settings("web").notify == Notify(command=("one",))  # type: ignore[union-attr]
    world.define({"web": {**WEB, "notify": ["two"]}})
    assert notifier_of(world).settings("web").notify == Notify(command=("two",))  # type: ignore[union-attr]


def test_all_are_delivered_at_once(tmp_path: Path) -> None:
    """Each of two commands waits for the file of the other one."""
    script = "cat >/dev/null; touch {0}/{1}; while [ ! -e {0}/{2} ]; do sleep 0.01; done"
    world = World(tmp_path, {})
    world.define({
        "web": {**WEB, "notify": ["/bin/sh", "-c", script.format(tmp_path, "a", "b")]},
        "worker": {**WORKER, "notify": ["/bin/sh", "-c", script.format(tmp_path, "b", "a")]},
    })  # fmt: skip
    assert notifier_of(world).deliver([FAILED, msgspec.structs.replace(FAILED, service="worker")]) == []


def test_failures_are_warnings_and_counted_until_a_success(tmp_path: Path) -> None:
    fails = ["/bin/sh", "-c", f"[ -e {tmp_path}/fixed ] || {{ echo no pager >&2; exit 7; }}"]
    world = world_with(tmp_path, fails)
    found = notifier_of(world)
    for count in (1, 2):
        assert found.deliver([FAILED]) == ["cannot send a notification about web: /bin/sh exited with code 7: no pager"]
        failure = NotificationRecords(world.store.directory).delivery_failure("web")
        assert failure is not None
        assert (failure.failures, failure.problem) == (count, "/bin/sh exited with code 7: no pager")
    (tmp_path / "fixed").touch()
    assert found.deliver([FAILED]) == []
    assert NotificationRecords(world.store.directory).delivery_failure("web") is None


def test_a_failed_webhook_beside_a_command(tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("http://127.0.0.1:1/hunter2")
    world = world_with(tmp_path, {"command": appends_to(tmp_path / "got"), "webhook": {"file": str(secret)}})
    warnings = notifier_of(world).deliver([FAILED])
    assert warnings == ["cannot send a notification about web: cannot reach the webhook: Connection refused"]
    assert len(received(tmp_path / "got")) == 1


def test_the_output_of_a_command_is_shown_without_secrets(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2")
    world = World(tmp_path, {})
    notify = ["/bin/sh", "-c", "echo hunter2 >&2; exit 1"]
    world.define({"web": {**WEB, "notify": notify, "env": {"PASSWORD": {"file": str(tmp_path / "password")}}}})
    assert notifier_of(world).deliver([FAILED]) == [
        "cannot send a notification about web: /bin/sh exited with code 1: [secret]"
    ]


def test_an_attempt_that_does_not_end_is_abandoned() -> None:
    """A lookup of a name in DNS ignores the timeout."""
    ended = threading.Event()

    def wait_long() -> None:
        ended.wait(30)

    hangs, works = Attempt("web", wait_long, 0.05), Attempt("web", lambda: None, 0.05)
    began = time.monotonic()
    run_all([hangs, works], Clock(), end_seconds=0.0)
    assert time.monotonic() - began < 5
    assert (hangs.problem, works.problem) == ("the delivery did not finish within 0.05s", "")
    ended.set()


def test_a_bug_is_a_problem_without_its_text() -> None:
    def bug() -> None:
        raise KeyError("https://hooks.example/hunter2")

    attempt = Attempt("web", bug, 5.0)
    run_all([attempt], Clock())
    assert attempt.problem == "a bug in Conductor (KeyError)"


def test_a_state_directory_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    world = world_with(tmp_path, ["/bin/false"])
    world.store.directory.mkdir(parents=True, exist_ok=True)
    (world.store.directory / "notify").write_text("not a directory")
    assert notifier_of(world).deliver([FAILED]) == [
        "cannot send a notification about web: /bin/false exited with code 1"
    ]


def test_unusable_settings(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("hunter2")
    world = world_with(tmp_path, {"command": ["sh"], "webhook": {"file": str(tmp_path / "url")}}, ["/nonexistent"])
    assert list(unusable(world.definitions)) == [
        (None, "/nonexistent is not an executable file"),
        ("web", f"cannot use {tmp_path}/url: it must contain an http:// or https:// URL"),
    ]
