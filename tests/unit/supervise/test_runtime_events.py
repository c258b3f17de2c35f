"""What an event of the runtime causes."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from conductor.plan.replica import Replica
from conductor.runtime.port import ContainerEvent, RuntimeUnavailable
from conductor.supervise.observe import LATE_LIST_SECONDS, ExitedReplicas
from conductor.supervise.runtime_events import EventHandler, follow
from tests.fakes.runtime import FakeClock

REPLICA = Replica(
    id="i1",
    name="web-1",
    service="web",
    revision="r1",
    release="c1",
    change="c1",
    address="10.0.0.1:80",
    state="running",
)
EXIT = ContainerEvent("web", "i1", fewer=True, exited=True, exit_code=3)


@pytest.mark.parametrize(
    ("event", "in_progress", "woken", "state"),
    [
        pytest.param(EXIT, set(), ["now"], "exited", id="an unexpected exit"),
        pytest.param(EXIT, {"web"}, ["soon"], "running", id="an exit during an action"),
        pytest.param(EXIT, {"shop"}, ["now"], "exited", id="an exit during an action on another service"),
        pytest.param(ContainerEvent("web", "i1", fewer=True), set(), ["now"], "running", id="paused"),
        pytest.param(ContainerEvent("web", "i1", fewer=False), set(), ["soon"], "running", id="started"),
    ],
)
def test_reaction(event: ContainerEvent, in_progress: set[str], woken: list[str], state: str) -> None:
    exited, calls = ExitedReplicas(FakeClock().monotonic), []
    handler = EventHandler(exited, in_progress, lambda: calls.append("soon"), lambda: calls.append("now"))
    handler.handle(event)
    assert calls == woken
    assert exited.corrected(REPLICA).state == state


def test_a_later_start_makes_an_exit_obsolete() -> None:
    exited = ExitedReplicas(FakeClock().monotonic)
    handler = EventHandler(exited, set(), lambda: None, lambda: None)
    handler.handle(EXIT)
    handler.handle(ContainerEvent("web", "i1", fewer=False))
    assert exited.corrected(REPLICA).state == "running"


def test_the_exit_code_is_known_until_a_later_start() -> None:
    exited = ExitedReplicas(FakeClock().monotonic)
    handler = EventHandler(exited, set(), lambda: None, lambda: None)
    handler.handle(EXIT)
    found = exited.corrected(msgspec.structs.replace(REPLICA, state="exited"))
    assert exited.codes([found]) == {"i1": 3}
    assert exited.corrected(REPLICA).state == "running", "the list was late, and is right once it showed the exit"
    handler.handle(ContainerEvent("web", "i1", fewer=False))
    assert exited.codes([found]) == {}


def test_exits_of_removed_containers_are_forgotten() -> None:
    clock = FakeClock()
    exited = ExitedReplicas(clock.monotonic)
    for number in range(20):
        exited.add(str(number), 0)
        clock.advance(LATE_LIST_SECONDS / 2)
    assert len(exited) == 3


def test_after_a_while_the_list_is_right() -> None:
    clock = FakeClock()
    exited = ExitedReplicas(clock.monotonic)
    exited.add("i1", 3)
    clock.advance(LATE_LIST_SECONDS + 0.1)
    assert exited.corrected(REPLICA) == REPLICA


def test_a_stream_that_ends_is_opened_again_and_reported_when_it_was_open() -> None:
    clock, ended, lost, handled = FakeClock(), threading.Event(), [], []

    def events() -> Iterator[ContainerEvent]:
        clock.advance(10.0)
        yield EXIT
        ended.set()

    runtime: Any = SimpleNamespace(events=events)
    follow(runtime.events, handled.append, lambda: lost.append(True), ended, clock.monotonic)
    assert ended.wait(5.0)
    for thread in threading.enumerate():
        if thread.name == "events":
            thread.join(5.0)
    assert (handled, lost) == ([EXIT], [True])


@pytest.mark.parametrize(("opens", "reported"), [(True, True), (False, False)], ids=["ended at once", "never open"])
def test_an_open_stream_is_lost_however_soon_it_ends(opens: bool, reported: bool) -> None:
    ended, lost = threading.Event(), []

    def events() -> Iterator[ContainerEvent]:
        ended.set()
        if not opens:
            raise RuntimeUnavailable("cannot follow Docker's events")
        yield from ()

    runtime: Any = SimpleNamespace(events=events)
    follow(runtime.events, lambda _event: None, lambda: lost.append(True), ended, FakeClock().monotonic)
    assert ended.wait(5.0)
    for thread in threading.enumerate():
        if thread.name == "events":
            thread.join(5.0)
    assert bool(lost) is reported
