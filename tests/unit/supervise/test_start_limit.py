"""The start limit, which starts that hang do not use up."""

import threading

import pytest

from conductor.errors import LockYielded
from conductor.supervise.start_limit import StartLimit

SLACK_SECONDS = 5.0


def taken(limit: StartLimit) -> tuple[threading.Event, threading.Event]:
    """A thread that takes a slot: set once it has one, and what makes it release it."""
    has, ends = threading.Event(), threading.Event()

    def take() -> None:
        with limit.slot():
            has.set()
            ends.wait(SLACK_SECONDS)

    threading.Thread(target=take, daemon=True).start()
    return has, ends


def test_at_most_so_many_starts_at_once() -> None:
    limit = StartLimit(2, threading.Event())
    first, end = taken(limit)
    assert first.wait(SLACK_SECONDS)
    (second, _), (third, _) = taken(limit), taken(limit)
    assert sum(one.wait(0.3) for one in (second, third)) == 1
    end.set()
    assert second.wait(SLACK_SECONDS)
    assert third.wait(SLACK_SECONDS)


def test_a_slow_start_no_longer_counts() -> None:
    limit = StartLimit(1, threading.Event(), start_seconds=0.1)
    first, end = taken(limit)
    assert first.wait(SLACK_SECONDS)
    second, _ = taken(limit)
    assert second.wait(SLACK_SECONDS)
    end.set()


def test_the_end_of_supervise_ends_the_waiting() -> None:
    ended = threading.Event()
    limit = StartLimit(1, ended)
    has, _ = taken(limit)
    assert has.wait(SLACK_SECONDS)
    ended.set()
    with pytest.raises(LockYielded), limit.slot():
        pass
