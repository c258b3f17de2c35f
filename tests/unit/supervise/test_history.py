"""The history of `supervise` has ever fewer of equal failures, with their count, and everything else."""

import msgspec
import pytest

from conductor.plan.history import HistoryEntry, Outcome
from conductor.supervise.history import QuietHistory

FAILED = HistoryEntry(
    at="now", service="web", action="repair", outcome=Outcome.ROLLED_BACK, command="supervise", reason="no image"
)


def changed(**fields: object) -> HistoryEntry:
    return msgspec.structs.replace(FAILED, **fields)


REFUSED = changed(outcome=Outcome.REFUSED)
IN_START = changed(steps={"start": 1.0})
DONE = changed(outcome=Outcome.DONE)
TASK = changed(action="cron", outcome=Outcome.FAILED, command="")
REAPED = changed(action="cron", outcome=Outcome.UNATTENDED, reason="")


class Written(list[HistoryEntry]):
    """A history in memory."""


GC = changed(action="gc", outcome=Outcome.DONE)


def counted(entry: HistoryEntry, failures: int) -> HistoryEntry:
    return msgspec.structs.replace(entry, failures=failures)


FIRST, SECOND = counted(FAILED, 1), counted(FAILED, 2)


@pytest.mark.parametrize(
    ("entries", "written"),
    [
        pytest.param([FAILED] * 9, [FIRST, SECOND, counted(FAILED, 4), counted(FAILED, 8)], id="a repeated failure"),
        pytest.param([FAILED, changed(reason="a"), changed(reason="b"), changed(reason="c")],
            [FIRST, counted(changed(reason="a"), 2), counted(changed(reason="c"), 4)], id="also for other reasons"),
        pytest.param([FAILED, REFUSED, FAILED, REFUSED], [FIRST, counted(REFUSED, 2), counted(FAILED, 3), counted(REFUSED, 4)],
            id="apart when it is refused"),
        pytest.param([FAILED, FAILED, FAILED, IN_START], [FIRST, SECOND, counted(IN_START, 4)], id="apart for each step"),
        pytest.param([IN_START, changed(steps={"start": 2.0}), IN_START], [counted(IN_START, 1), changed(steps={"start": 2.0}, failures=2)],
            id="whatever time the steps took"),
        pytest.param([DONE, DONE], [DONE, DONE], id="successes"),
        pytest.param([TASK, TASK, TASK], [TASK, TASK, TASK], id="ends of tasks"),
        pytest.param([REAPED, REAPED, REAPED], [REAPED, REAPED, REAPED], id="tasks that supervise removed"),
        pytest.param([FAILED, FAILED, FAILED, DONE, FAILED], [FIRST, SECOND, counted(DONE, 3), FIRST], id="a success ends the count"),
        pytest.param([FAILED, TASK, FAILED], [FIRST, TASK, FIRST], id="a failure after another entry"),
        pytest.param([FAILED, FAILED, GC, FAILED], [FIRST, SECOND, GC], id="garbage was removed meanwhile"),
        pytest.param([FAILED, changed(service="shop"), FAILED, FAILED],
            [FIRST, changed(service="shop", failures=1), SECOND], id="two services"),
        pytest.param([FAILED, changed(action="restart"), FAILED, FAILED],
            [FIRST, changed(action="restart", failures=2), counted(FAILED, 3)], id="two actions"),
        pytest.param([changed(command="service upgrade")] * 3, [changed(command="service upgrade")] * 3,
            id="a recovered change of a command"),
    ],
)  # fmt: skip
def test_repeated_failures_are_written_ever_less_often(
    entries: list[HistoryEntry], written: list[HistoryEntry]
) -> None:
    found = Written()
    history = QuietHistory(found)
    for entry in entries:
        history.append(entry)
    assert found == written


def test_a_service_that_fails_every_minute_for_a_week_has_few_entries() -> None:
    found = Written()
    history = QuietHistory(found)
    for _ in range(7 * 24 * 60):
        history.append(FAILED)
    assert len(found) == 14


def test_each_history_has_its_own_state() -> None:
    one, other = Written(), Written()
    QuietHistory(one).append(FAILED)
    QuietHistory(other).append(FAILED)
    assert one == other == [FIRST]


def test_an_entry_that_could_not_be_written_is_written_with_the_next_failure() -> None:
    class Full(Written):
        is_full = True

        def append(self, entry: HistoryEntry) -> None:
            if self.is_full:
                raise OSError("no space left")
            super().append(entry)

    disk = Full()
    history = QuietHistory(disk)
    with pytest.raises(OSError, match="no space"):
        history.append(FAILED)
    disk.is_full = False
    history.append(FAILED)
    assert disk == [FIRST]
