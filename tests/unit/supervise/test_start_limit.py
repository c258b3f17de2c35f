"""A limit on starts in progress, which those that hang do not use up."""

import threading

import pytest

from conductor.errors import LockYielded
from conductor.supervise import start_limit
from conductor.supervise.start_limit import StartLimit

SLACK_SECONDS = 5.0


def taken(made: StartLimit) -> tuple[threading.Event, threading.Event]:
    """Somebody who takes a turn: whether he has it, and what ends it."""
    has, ends = threading.Event(), threading.Event()

    def take() -> None:
        with made.turn():
            has.set()
            ends.wait(SLACK_SECONDS)

    threading.Thread(target=take, daemon=True).start()
    return has, ends


def test_so_many_at_once() -> None:
    made = StartLimit(2, threading.Event())
    first, end = taken(made)
    assert first.wait(SLACK_SECONDS)
    (second, _), (third, _) = taken(made), taken(made)
    assert sum(one.wait(0.3) for one in (second, third)) == 1
    end.set()
    assert second.wait(SLACK_SECONDS)
    assert third.wait(SLACK_SECONDS)


def test_who_takes_long_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_limit, "START_SECONDS", 0.1)
    made = StartLimit(1, threading.Event())
    first, end = taken(made)
    assert first.wait(SLACK_SECONDS)
    second, _ = taken(made)
    assert second.wait(SLACK_SECONDS)
    end.set()


def test_nobody_waits_when_it_is_all_over() -> None:
    over = threading.Event()
    made = StartLimit(1, over)
    has, _ = taken(made)
    assert has.wait(SLACK_SECONDS)
    over.set()
    with pytest.raises(LockYielded), made.turn():
        pass
