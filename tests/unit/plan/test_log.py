"""How far a log was read: each line once, however the log is read again."""

import pytest

from conductor.plan.log import LogLine, LogPosition

A1 = LogLine("01", "stdout", "a")
A2 = LogLine("02", "stdout", "a")
B2 = LogLine("02", "stdout", "b")
E1 = LogLine("01", "stderr", "e")
E3 = LogLine("03", "stderr", "e")
C4 = LogLine("04", "stdout", "c")
LOG = [A1, A2, E1, B2, C4, E3]  # as Docker may store it: in order within each stream only


@pytest.mark.parametrize("cut", range(len(LOG) + 1))
def test_a_log_that_is_read_again_from_its_position(cut: int) -> None:
    position = LogPosition()
    assert list(position.unread(LOG[:cut])) == LOG[:cut]
    again = [line for line in LOG if line.time >= position.since]
    assert list(position.unread(again)) == LOG[cut:]
    assert list(position.unread(again)) == []


def test_the_position_is_that_of_the_slower_stream() -> None:
    position = LogPosition()
    assert list(position.unread([A1, A2, C4])) == [A1, A2, C4]
    assert position.since == ""
    assert list(position.unread(LOG)) == [E1, E3]


def test_nothing_before_the_start_is_read() -> None:
    position = LogPosition("02")
    assert position.since == "02"
    assert list(position.unread(LOG)) == [A2, B2, C4, E3]
