"""Following the logs of a service on a host in memory: every line of every replica exactly once."""

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar, NoReturn

import pytest

from conductor.logs.follow import Follower
from conductor.logs.replica_log import Entry
from conductor.logs.service_logs import Selection, ServiceLogs
from conductor.plan.log import KeptLog, LogLine
from conductor.runtime.port import LogUnreadable, RuntimeUnavailable
from tests.fakes.runtime import Behaviour
from tests.fakes.world import WEB, World

SECONDS = 10.0  # for a line to arrive
ALL = Selection()
QUIET_SECONDS = 0.2  # in which a line that was read twice would arrive


class _Over(Exception):  # noqa: N818 (it ends a thread)
    """The test is over."""


class Followed:
    """Follows `web` in a thread, until the end of the test. `expect` takes the lines that have arrived."""

    _all: ClassVar[list["Followed"]] = []

    def __init__(
        self, world: World, selection: Selection = ALL, *, meanwhile: Callable[[], object] = lambda: None
    ) -> None:
        self.warnings: list[str] = []
        self._lines: queue.Queue[Entry] = queue.Queue()
        self._over = False
        logs = ServiceLogs(world.context(), world.definitions, "web", selection)
        logs.resolve(follow=True)
        self.history = [entry.line.text for entry in logs.history(self.warnings.append)]
        meanwhile()
        follower = Follower(world.runtime, logs, self.warnings.append, poll_seconds=0.0)
        self._logs = logs
        self._thread = threading.Thread(target=self._follow, args=(follower.entries(),), daemon=True)
        self._thread.start()
        self._all.append(self)

    def _follow(self, entries: Iterator[Entry]) -> None:
        with contextlib.suppress(_Over):
            for entry in entries:
                self._lines.put(entry)

    @classmethod
    def end_all(cls) -> None:
        """End the threads: each lists the replicas all the time."""

        def over() -> NoReturn:
            raise _Over

        while cls._all:
            one = cls._all.pop()
            one._logs.listed = over  # type: ignore[method-assign]
            one._thread.join(SECONDS)
            assert not one._thread.is_alive()

    def break_streams(self, world: World) -> None:
        """Stop the daemon, and return when that was noticed."""
        world.runtime.away = True
        until = time.monotonic() + SECONDS
        while not self.warnings:
            assert time.monotonic() < until
            time.sleep(0.01)
        time.sleep(QUIET_SECONDS)

    def expect(self, *lines: str) -> None:
        assert sorted(self._lines.get(timeout=SECONDS).line.text for _ in lines) == sorted(lines)
        with pytest.raises(queue.Empty):
            self._lines.get(timeout=QUIET_SECONDS)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, {"web": {**WEB, "count": 1}})
    for revision in ("r1", "r2", "r3"):
        world.runtime.behave(revision, Behaviour(stdout=(f"{revision} starts",)))
    yield world
    Followed.end_all()


def say(world: World, line: str) -> None:
    world.runtime.print(world.replicas()[0].id, line)


def test_new_lines_come_after_the_history(world: World) -> None:
    world.upgrade("r1")
    say(world, "before")
    followed = Followed(world)
    assert followed.history == ["r1 starts", "before"]
    say(world, "after")
    followed.expect("after")


@pytest.mark.parametrize("tail", [0, 1])
def test_lines_before_the_tail_do_not_come_later(world: World, tail: int) -> None:
    world.upgrade("r1")
    world.runtime.print(world.replicas()[0].id, "earlier, on the other stream", stream=2)
    say(world, "before")
    followed = Followed(world, Selection(tail=tail))
    assert followed.history == ["before"][:tail]
    say(world, "after")
    followed.expect("after")


def test_a_first_deploy_is_waited_for(world: World) -> None:
    followed = Followed(world)
    world.upgrade("r1")
    followed.expect("r1 starts")


def test_upgrades(world: World) -> None:
    world.upgrade("r1")
    followed = Followed(world)
    for revision in ("r2", "r3"):
        say(world, f"before {revision}")
        world.upgrade(revision)
        say(world, f"after {revision}")
        followed.expect(f"before {revision}", f"{revision} starts", f"after {revision}")


def test_only_the_selected_revision(world: World) -> None:
    world.upgrade("r1")
    followed = Followed(world, Selection(revision="r2"))
    say(world, "of r1")
    world.upgrade("r2")
    followed.expect("r2 starts")


def test_a_replica_that_failed_between_two_lists_of_the_replicas(world: World) -> None:
    """Only its kept log has its lines."""
    world.upgrade("r1")
    followed = Followed(world)
    say(world, "still here")
    followed.expect("still here")
    lines = tuple(world.runtime.read_log(world.replicas()[0].id))
    world.store.keep_log("web", KeptLog(container="web-r2-c2-1", revision="r2", kind="service", lines=lines))
    followed.expect("r1 starts", "still here")


def test_lines_that_only_the_kept_log_has(world: World) -> None:
    """The stream broke before the last lines, and the replica is gone before it can be read again."""
    world.upgrade("r1")
    followed = Followed(world)
    replica = world.replicas()[0]
    lines = (*world.runtime.read_log(replica.id), LogLine("2999-01-01T00:00:00.000000000Z", "stdout", "last words"))
    followed.break_streams(world)
    world.store.keep_log("web", KeptLog(container=replica.name, revision="r1", kind="service", lines=lines))
    world.runtime.vanish(replica.id)
    world.runtime.away = False
    followed.expect("last words")


def test_a_replica_that_is_removed_after_the_history(world: World) -> None:
    world.upgrade("r1")

    def upgrade() -> None:
        say(world, "last words")
        world.upgrade("r2")

    followed = Followed(world, meanwhile=upgrade)
    followed.expect("last words", "r2 starts")


def test_a_replica_that_exited_before_its_log_was_read(world: World) -> None:
    world.upgrade("r1")
    followed = Followed(world)
    followed.break_streams(world)
    say(world, "last words")
    world.runtime.exit(world.replicas()[0].id)
    world.runtime.away = False
    followed.expect("last words")
    calls = len(world.runtime.called("read_log"))
    followed.expect()
    assert len(world.runtime.called("read_log")) == calls


def test_a_restart_of_docker(world: World) -> None:
    world.upgrade("r1")
    followed = Followed(world)
    say(world, "before")
    followed.expect("before")
    followed.break_streams(world)
    say(world, "meanwhile")
    say(world, "meanwhile")
    world.runtime.away = False
    followed.expect("meanwhile", "meanwhile")
    assert set(followed.warnings) == {"cannot reach Docker at memory://: it is not running"}


def test_a_replica_that_exits_and_is_started_again(world: World) -> None:
    world.upgrade("r1")
    followed = Followed(world)
    container = world.replicas()[0].id
    for number in range(2):
        world.runtime.exit(container)
        followed.expect()
        world.runtime.start(container)
        followed.expect("r1 starts")
        world.runtime.print(container, f"again {number}")
        world.runtime.exit(container)
        world.runtime.start(container)
        followed.expect(f"again {number}", "r1 starts")


def test_a_stream_that_breaks_at_its_start_is_opened_again(world: World) -> None:
    world.upgrade("r1")
    world.runtime.fail("read_log", 2, RuntimeUnavailable("broken"))
    followed = Followed(world)
    say(world, "one")
    followed.expect("one")
    assert followed.warnings == ["broken"]


def test_a_log_that_cannot_be_read_is_reported_once(world: World) -> None:
    world.upgrade("r1")
    world.runtime.fail("read_log", 2, LogUnreadable("it only writes"))
    followed = Followed(world)
    followed.expect()
    assert followed.warnings == ["it only writes"]
    assert len(world.runtime.called("read_log")) == 2
