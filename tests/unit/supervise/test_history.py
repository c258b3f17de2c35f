"""The history of `supervise` has the first of equal failures, and everything else."""

import msgspec
import pytest

from conductor.plan.history import HistoryEntry, Outcome
from conductor.supervise.history import QuietHistory

FAILED = HistoryEntry(
    at="now", service="web", action="repair", outcome=Outcome.ROLLED_BACK, command="supervise", reason="no image"
)


def changed(**fields: object) -> HistoryEntry:
    return msgspec.structs.replace(FAILED, **fields)


DONE = changed(outcome=Outcome.DONE)
TASK = changed(action="cron", outcome=Outcome.FAILED, command="")
REAPED = changed(action="cron", outcome=Outcome.UNATTENDED, reason="")


class Written(list[HistoryEntry]):
    """A history in memory."""


@pytest.mark.parametrize(
    ("entries", "written"),
    [
        pytest.param([FAILED, FAILED, FAILED], [FAILED], id="a repeated failure"),
        pytest.param([FAILED, changed(reason="no network")], [FAILED], id="also for another reason"),
        pytest.param([FAILED, changed(outcome=Outcome.REFUSED)], [FAILED], id="also when it is refused"),
        pytest.param([DONE, DONE], [DONE, DONE], id="successes"),
        pytest.param([TASK, TASK], [TASK, TASK], id="ends of tasks"),
        pytest.param([REAPED, REAPED, REAPED], [REAPED, REAPED, REAPED], id="tasks that supervise removed"),
        pytest.param([FAILED, DONE, FAILED], [FAILED, DONE, FAILED], id="a failure after a success"),
        pytest.param([FAILED, TASK, FAILED], [FAILED, TASK, FAILED], id="a failure after another entry"),
        pytest.param([FAILED, changed(service="shop"), FAILED], [FAILED, changed(service="shop")], id="two services"),
        pytest.param([FAILED, changed(action="restart"), FAILED], [FAILED, changed(action="restart")], id="two actions"),
        pytest.param([changed(command="service upgrade")] * 2, [changed(command="service upgrade")] * 2,
            id="a recovered change of a command"),
    ],
)  # fmt: skip
def test_repeated_failures_are_dropped(entries: list[HistoryEntry], written: list[HistoryEntry]) -> None:
    found = Written()
    history = QuietHistory(found)
    for entry in entries:
        history.append(entry)
    assert found == written


def test_each_history_has_its_own_state() -> None:
    one, other = Written(), Written()
    QuietHistory(one).append(FAILED)
    QuietHistory(other).append(FAILED)
    assert one == other == [FAILED]


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
    assert disk == [FAILED]
