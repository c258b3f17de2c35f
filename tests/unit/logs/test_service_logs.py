"""The logs of a service on a host in memory: which lines are shown, and in which order."""

from pathlib import Path
from typing import Any

import pytest

from conductor.errors import ConductorError, UsageError
from conductor.logs.service_logs import Selection, ServiceLogs
from conductor.plan.log import KeptLog, LogLine
from conductor.runtime.port import LogUnreadable, RuntimeUnavailable
from tests.fakes.runtime import Behaviour
from tests.fakes.world import WEB, World

WORKER = {**WEB, "nginx": None, "count": 1}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, {"web": WEB, "worker": WORKER})


class Shown:
    def __init__(self, world: World, service: str = "web", **selection: Any) -> None:
        self.warnings: list[str] = []
        self.logs = ServiceLogs(world.context(), world.definitions, service, Selection(**selection))
        self.logs.resolve(follow=False)
        self.entries = list(self.logs.history(self.warnings.append))
        self.lines = [entry.line.text for entry in self.entries]


def say(world: World, *lines: str) -> None:
    """Print each line in the next replica, in turn."""
    replicas = world.replicas()
    for number, line in enumerate(lines):
        world.runtime.print(replicas[number % len(replicas)].id, line, stream=1 + number % 2)


def test_the_lines_of_all_replicas_of_all_releases_are_sorted_by_time(world: World) -> None:
    world.upgrade("r1", "web")
    say(world, "one", "two", "three", "four")
    world.upgrade("r2", "web")
    say(world, "five", "six", "seven")
    shown = Shown(world)
    assert shown.lines == ["one", "two", "three", "four", "five", "six", "seven"]
    assert [entry.revision for entry in shown.entries] == ["r1"] * 4 + ["r2"] * 3
    assert len({entry.replica for entry in shown.entries}) == 4
    assert [entry.line.stream for entry in shown.entries[:2]] == ["stdout", "stderr"]


def test_the_log_of_a_replica_that_failed_its_gate(world: World) -> None:
    world.upgrade("r1", "web")
    world.runtime.behave("r2", Behaviour(exits_after=0.0, exit_code=1, stderr=("no moon phase",)))
    with pytest.raises(ConductorError) as raised:
        world.upgrade("r2", "web")
    assert raised.value.hint == "conductor service logs --id web --release r2"
    assert set(Shown(world, revision="r2").lines) == {"no moon phase"}


@pytest.mark.parametrize(
    ("selection", "lines"),
    [
        ({"tail": 0}, []),
        ({"tail": 1}, ["3", "4", "7", "8"]),
        ({"tail": 2}, ["1", "2", "3", "4", "5", "6", "7", "8"]),
        ({"revision": "r1"}, ["1", "2", "3", "4"]),
        ({"revision": "r1", "tail": 1}, ["3", "4"]),
    ],
)
def test_the_selection(world: World, selection: dict[str, Any], lines: list[str]) -> None:
    world.upgrade("r1", "web")
    say(world, "1", "2", "3", "4")
    world.upgrade("r2", "web")
    say(world, "5", "6", "7", "8")
    assert Shown(world, **selection).lines == lines


def test_lines_since_a_time(world: World) -> None:
    world.upgrade("r1", "web")
    say(world, "1", "2", "3", "4")
    world.upgrade("r2", "web")
    say(world, "5", "6")
    times = [entry.order for entry in Shown(world).entries]
    for number, time in enumerate(times):
        assert Shown(world, since=time).lines == ["1", "2", "3", "4", "5", "6"][number:]


def test_a_prefix_of_a_revision(world: World) -> None:
    for revision in ("abc1", "abc2", "abc", "d1"):
        world.runtime.add_image(f"shop:{revision}")
        world.runtime.behave(revision, Behaviour(stdout=(revision,)))
        world.upgrade(revision, "worker")
    for asked, found in (("abc1", "abc1"), ("abc", "abc"), ("d", "d1")):
        assert Shown(world, "worker", revision=asked).lines == [found]
    with pytest.raises(UsageError, match="it matches abc, abc1, abc2"):
        Shown(world, "worker", revision="ab")
    with pytest.raises(ConductorError, match="known revisions: abc, abc1, abc2, d1"):
        Shown(world, "worker", revision="e")


def test_following_an_unknown_revision_names_the_known_ones(world: World) -> None:
    def missing(**selection: Any) -> str:
        return ServiceLogs(world.context(), world.definitions, "web", Selection(**selection)).resolve(follow=True)

    assert missing() == "web has never been deployed on this host; waiting for its first deploy"
    world.upgrade("r1", "web")
    assert (missing(), missing(revision="r1"), missing(revision="r")) == ("", "", "")
    assert missing(revision="x") == ("no log lines for web at x yet: there is no such revision; known revisions: r1")


def test_unknown_services_and_services_without_a_release(world: World) -> None:
    with pytest.raises(UsageError, match="cannot find service"):
        Shown(world, "wbe")
    with pytest.raises(ConductorError, match="it has never been deployed on this host"):
        Shown(world)
    ServiceLogs(world.context(), world.definitions, "web", Selection()).resolve(follow=True)
    world.upgrade("r1", "web")
    assert Shown(world).lines == []


def test_a_service_that_left_the_definitions_file(world: World) -> None:
    world.upgrade("r1", "web")
    say(world, "one")
    world.define({"worker": WORKER})
    assert Shown(world).lines == ["one"]


def test_secrets_are_replaced_by_the_definition_of_each_release(world: World, tmp_path: Path) -> None:
    secret = tmp_path / "KEY"
    with_secret = {**WEB, "count": 1, "env": {"KEY": {"file": str(secret)}}}
    secret.write_text("first-77e0c1a9")
    world.define({"web": with_secret})
    world.upgrade("r1", "web")
    secret.write_text("second-4d1f")
    world.define({"web": {**WEB, "count": 1}})
    say(world, "first-77e0c1a9 and second-4d1f")
    assert Shown(world).lines == ["[secret] and [secret]"]
    secret.unlink()
    assert Shown(world).lines == ["(hidden: the service's secrets cannot be read)"]


def test_a_log_that_cannot_be_read_does_not_hide_the_others(world: World) -> None:
    world.upgrade("r1", "web")
    say(world, "one", "two")
    world.runtime.fail("read_log", 1, LogUnreadable("cannot read the log of web-1: it only writes"))
    shown = Shown(world)
    assert shown.lines == ["two"]
    assert shown.warnings == ["cannot read the log of web-1: it only writes"]
    world.runtime.fail("read_log", 1, RuntimeUnavailable("away"))
    with pytest.raises(RuntimeUnavailable):
        Shown(world)


def test_logs_that_an_older_version_kept(world: World) -> None:
    """Their lines have no times: they come where the file was written, and are not repeated for a replica that exists."""
    world.upgrade("r1", "web")
    say(world, "now")
    directory = world.directory / "state" / "logs" / "web"
    directory.mkdir(parents=True)
    (directory / "web-279d90358866-c0-1.log").write_text("one\ntwo\n")
    (directory / "web-279d90358866-c0-hook.log").write_text("migrating\n")
    (directory / f"{world.replicas()[0].name}.log").write_text("now\n")
    shown = Shown(world)
    assert sorted(shown.lines) == ["now", "one", "two"]
    old = [entry for entry in shown.entries if entry.revision == "279d90358866"]
    assert [(entry.line.text, entry.line.time) for entry in old] == [("one", ""), ("two", "")]
    assert Shown(world, revision="279d9035").lines == ["one", "two"]
    assert Shown(world, since="2999-01-01T00:00:00.000000000Z").lines == []


def test_a_log_that_a_newer_version_kept_is_reported(world: World) -> None:
    world.upgrade("r1", "web")
    say(world, "one")
    directory = world.directory / "state" / "logs" / "web"
    directory.mkdir(parents=True)
    (directory / "web-r0-c0-1.log").write_text('{"version":3,"revision":"r0","kind":"service"}\n')
    shown = Shown(world)
    assert shown.lines == ["one"]
    assert ["its format is 3" in warning for warning in shown.warnings] == [True]


def test_the_logs_of_hooks_are_not_those_of_replicas(world: World) -> None:
    line = LogLine("2026-01-01T00:00:00.000000000Z", "stdout", "migrating")
    world.store.keep_log("web", KeptLog(container="web-r1-c1-hook", revision="r1", kind="hook", lines=(line,)))
    world.upgrade("r1", "web")
    assert Shown(world).lines == []


def test_the_secrets_of_an_old_replica_whose_release_is_not_kept_are_replaced(world: World, tmp_path: Path) -> None:
    secret = tmp_path / "KEY"
    secret.write_text("first-77e0c1a9")
    later = {**WEB, "count": 1, "stop": {"wait": False}}
    world.runtime.behave("r1", Behaviour(stops_after=60.0, stdout=("first-77e0c1a9",)))
    world.define({"web": {**later, "env": {"KEY": {"file": str(secret)}}}})
    world.upgrade("r1", "web")
    world.define({"web": later})
    world.restart()
    assert sorted(Shown(world).lines) == ["[secret]", "first-77e0c1a9"]  # the new replica has no such secret
