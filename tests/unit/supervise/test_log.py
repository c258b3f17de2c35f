"""The supervisor log: each failure in full once, then only how often; priorities for the journal."""

from collections.abc import Callable

import pytest

from conductor.errors import ConductorError
from conductor.output.events import Notice, Warned
from conductor.plan.reason import Mismatch
from conductor.plan.reconcile import Recover, Repair
from conductor.supervise.log import SupervisorLog, WarningOutput, identity

REPAIR = Repair(keep=(), count=1, reason=Mismatch(wanted=1, healthy=0))


@pytest.fixture(autouse=True)
def no_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)


class Lines(list[str]):
    def __init__(self) -> None:
        super().__init__()
        self.log = SupervisorLog(self.append)


def raised(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:  # noqa: BLE001 (with its traceback)
        return error
    raise AssertionError("nothing was raised")


def cannot_start(number: int = 1) -> None:
    raise ConductorError(f"cannot start web-{number}", details=("its log",))


def cannot_list() -> None:
    raise ConductorError("cannot list containers")


def wrapped(cause: Callable[[], None]) -> None:
    try:
        cause()
    except ConductorError as error:
        raise error.within("repair web") from error


def bug() -> None:
    raise KeyError("port")


def test_a_repeated_failure_is_counted() -> None:
    lines = Lines()
    for number in range(1, 21):
        lines.log.started("web", REPAIR, "1 wanted, 0 healthy")
        lines.log.failed("web", raised(lambda n=number: cannot_start(n)))
    assert lines[:3] == ["web: repair started: 1 wanted, 0 healthy", "web: cannot start web-1", "its log"]
    assert lines[3:] == [f"web: failed {count} times: cannot start web-{count}" for count in (2, 4, 8, 16)]


def test_another_failure_and_another_service_are_written_in_full() -> None:
    lines = Lines()
    lines.log.failed("web", raised(cannot_start))
    lines.log.failed("shop", raised(cannot_start))
    lines.log.failed("web", raised(cannot_list))
    assert lines == ["web: cannot start web-1", "its log", "shop: cannot start web-1", "its log",
        "web: cannot list containers"]  # fmt: skip


def test_after_success_a_failure_is_written_in_full_again() -> None:
    lines = Lines()
    lines.log.failed("web", raised(cannot_list))
    assert lines.log.has_failures
    lines.log.recovered("web")
    assert not lines.log.has_failures
    lines.log.failed("web", raised(cannot_list))
    assert lines == ["web: cannot list containers"] * 2


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        pytest.param(lambda: cannot_start(1), lambda: cannot_start(2), True, id="another text"),
        pytest.param(cannot_start, cannot_list, False, id="another place"),
        pytest.param(lambda: wrapped(cannot_list), lambda: wrapped(cannot_list), True, id="the same cause"),
        pytest.param(lambda: wrapped(cannot_list), lambda: wrapped(cannot_start), False, id="another cause"),
        pytest.param(cannot_list, lambda: wrapped(cannot_list), False, id="with context and without"),
        pytest.param(bug, cannot_list, False, id="another type"),
    ],
)
def test_identity(one: Callable[[], None], other: Callable[[], None], same: bool) -> None:
    assert (identity(raised(one)) == identity(raised(other))) == same


def test_an_error_that_is_its_own_cause_has_an_identity() -> None:
    def raise_from_itself() -> None:
        error = ConductorError("cannot start web-1")
        raise error from error

    assert len(identity(raised(raise_from_itself))) == 1


def test_priorities_where_the_journal_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    lines = Lines()
    lines.log.info("hello\nworld")
    lines.log.failed("web", raised(cannot_list))
    assert lines == ["<6>hello", "<6>world", "<4>web: cannot list containers"]


def test_wordings() -> None:
    lines = Lines()
    lines.log.started("web", Recover(), "a change was interrupted")
    lines.log.done("web", REPAIR)
    lines.log.yielded("web", REPAIR)
    lines.log.failed("web", raised(bug))
    assert lines == [
        "web: recover started: a change was interrupted",
        "web: repair done",
        "web: repair stopped: a command is waiting for the lock, or supervise is exiting",
        "web: this is a bug in Conductor: KeyError: 'port'",
    ]


def test_only_warnings_of_an_action_are_written_and_equal_ones_once() -> None:
    lines = Lines()
    for text in ("killed web-1", "killed web-1", "killed web-2"):
        output = WarningOutput(lines.log, "web")  # one for each action
        output.emit(Notice(text="rolling back"))
        output.emit(Warned(text=text))
    assert lines == ["web: killed web-1", "web: killed web-2"]


def test_an_equal_warning_is_written_again_after_the_service_has_recovered() -> None:
    lines = Lines()
    for _ in range(2):
        lines.log.warned("web", Warned(text="web-1 was killed"))
    lines.log.recovered("web")
    lines.log.warned("web", Warned(text="web-1 was killed"))
    assert lines == ["web: web-1 was killed"] * 2
