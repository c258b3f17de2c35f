"""What is recorded of a task: its outcome in the history, and the last result of a cron job."""

from collections.abc import Callable

import msgspec
import pytest

from conductor.definitions.scalars import Secret
from conductor.errors import ConductorError, Interrupted
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.tasks import JobResult, Task
from conductor.tasks.attach import TaskEnd
from conductor.tasks.context import TaskContext
from conductor.tasks.results import KEPT_BYTES, TaskRecord

TASK = Task(service="web", kind="task", command=("true",))
JOB = Task(service="web", kind="cron", command=("true",), job="k1")


def end(outcome: Outcome, code: int) -> TaskEnd:
    return TaskEnd(exit_code=code, seconds=1.5, outcome=outcome)


def history(context: TaskContext) -> list[HistoryEntry]:
    lines = (context.store.directory / "history.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line, type=HistoryEntry) for line in lines]


ENDS: dict[str, tuple[Callable[[TaskRecord], None], Outcome, int | None, float | None, str]] = {
    "exited": (lambda record: record.ended(end(Outcome.DONE, 3)), Outcome.DONE, 3, 1.5, ""),
    "timed out": (lambda record: record.ended(end(Outcome.TIMED_OUT, 124)), Outcome.TIMED_OUT, 124, 1.5, ""),
    "hung up": (lambda record: record.ended(end(Outcome.HUNG_UP, 129)), Outcome.HUNG_UP, 129, 1.5, ""),
    "detached": (lambda record: record.detached(), Outcome.STARTED, None, None, ""),
    "failed": (lambda record: record.failed(ConductorError("cannot x: y")), Outcome.FAILED, 1, None, "cannot x: y"),
    "interrupted": (
        lambda record: record.failed(Interrupted(15)), Outcome.INTERRUPTED, 143, None, Interrupted(15).sentence,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("record", "outcome", "code", "seconds", "reason"), ENDS.values(), ids=ENDS)
def test_the_history(
    context: TaskContext,
    record: Callable[[TaskRecord], None],
    outcome: Outcome,
    code: int | None,
    seconds: float | None,
    reason: str,
) -> None:
    made = TaskRecord(context, TASK, "r1")
    made.container = "web-r1-x-task"
    record(made)
    (entry,) = history(context)
    assert (entry.outcome, entry.exit_code, entry.seconds, entry.reason) == (outcome, code, seconds, reason)
    assert (entry.service, entry.action, entry.to, entry.container) == ("web", "task", "r1", "web-r1-x-task")
    assert (entry.command, entry.began, entry.at) == (context.command, context.clock.now(), context.clock.now())
    assert context.store.job("web", "") is None


def test_the_last_result_of_a_job(context: TaskContext) -> None:
    record = TaskRecord(context, JOB, "r1")
    record.began()
    assert context.store.job("web", "k1") == JobResult(
        service="web", job="k1", revision="r1", began=context.clock.now()
    )
    record.keep(b"one\n")
    record.keep(b"two\n")
    TaskRecord(context, JOB, "r1").skipped()
    record.ended(end(Outcome.DONE, 4))
    result = context.store.job("web", "k1")
    assert result is not None
    assert (result.exit_code, result.seconds, result.output, result.skipped) == (4, 1.5, "one\ntwo\n", 1)
    TaskRecord(context, JOB, "r2").began()
    result = context.store.job("web", "k1")
    assert result is not None
    assert (result.revision, result.exit_code, result.output, result.skipped) == ("r2", None, "", 0)


def test_failed_runs_in_a_row_are_counted(context: TaskContext) -> None:
    counted = []
    for code in (1, 2, 0, 3):
        record = TaskRecord(context, JOB, "r1")
        record.began()
        record.ended(end(Outcome.DONE, code))
        result = context.store.job("web", "k1")
        assert result is not None
        counted.append(result.failures)
    assert counted == [1, 2, 0, 1]


def test_a_job_that_failed_shows_the_error(context: TaskContext) -> None:
    TaskRecord(context, JOB, "r1").failed(ConductorError("cannot run true: no such file"))
    result = context.store.job("web", "k1")
    assert result is not None
    assert (result.exit_code, result.output) == (1, "cannot run true: no such file")


def test_secrets_are_removed_from_the_output(context: TaskContext) -> None:
    record = TaskRecord(context, JOB, "r1")
    record.secrets = (Secret("hunter2-and-more"),)
    record.keep(b"x" * KEPT_BYTES + b"hunter2-and-more")
    record.keep(b"y" * (KEPT_BYTES - 8) + b"\n")
    record.ended(end(Outcome.DONE, 0))
    result = context.store.job("web", "k1")
    assert result is not None
    assert "more" not in result.output
    assert result.output.endswith("y\n")


def test_records_that_cannot_be_written_are_a_warning(context: TaskContext, capfd: pytest.CaptureFixture[str]) -> None:
    context.store.directory.write_text("a file where the directory should be")
    TaskRecord(context, JOB, "r1").ended(end(Outcome.DONE, 0))
    lines = capfd.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("warning: cannot ") for line in lines)
