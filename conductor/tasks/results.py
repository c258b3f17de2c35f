"""The records of a task: an entry in the history, and the last result of a cron job. A failure here never fails the task."""

from collections.abc import Callable

import msgspec

from conductor.caller import current_user
from conductor.definitions.redaction import redactor, without_cut_secret
from conductor.errors import ConductorError, Interrupted
from conductor.output.streams import write_notice
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.replica import TaskContainer
from conductor.plan.tasks import JobResult, Task, job_locks
from conductor.state.locks import RESULT_SECONDS
from conductor.tasks.attach import TaskEnd
from conductor.tasks.context import TaskContext

KEPT_BYTES = 16384  # from the end of the output of a cron job's last run


class TaskRecord:
    """The records of one run of a task at a revision, which has `began` just now if that is empty. `secrets` are removed from its
    output."""

    def __init__(self, context: TaskContext, task: Task, revision: str, *, began: str = "") -> None:
        self._context = context
        self._task = task
        self._revision = revision
        self._began = began or context.clock.now()
        self._output = b""
        self.container = ""
        self.secrets: tuple[object, ...] = ()

    def keep(self, data: bytes) -> None:
        """Keep the end of the output. Called by one thread."""
        if self._task.job:
            self._output = (self._output + data)[-KEPT_BYTES:]

    def began(self) -> None:
        """Record that the job runs now. Skipped runs are counted from here."""
        task = self._task
        result = JobResult(service=task.service, job=task.job, revision=self._revision, began=self._began)
        self._update_result(lambda last: msgspec.structs.replace(result, failures=last.failures))

    def skipped(self) -> None:
        """Record that the job was skipped, because another run was in progress."""
        self._update_result(lambda last: msgspec.structs.replace(last, skipped=last.skipped + 1))

    def ended(self, end: TaskEnd) -> None:
        """Record the end of the task."""
        output = self._output.decode(errors="replace")
        if len(self._output) == KEPT_BYTES:  # it may begin inside a character or a secret
            output = without_cut_secret(output.lstrip("\ufffd"), self.secrets)
        self._write(end.outcome, exit_code=end.exit_code, seconds=end.seconds, output=output)

    def detached(self) -> None:
        """Record that the task was started and is not followed."""
        self._write(Outcome.STARTED)

    def failed(self, error: ConductorError) -> None:
        """Record that the task could not be run, or that its end is unknown."""
        outcome = Outcome.INTERRUPTED if isinstance(error, Interrupted) else Outcome.FAILED
        self._write(outcome, exit_code=error.code, output=error.sentence, reason=error.sentence)

    def _write(
        self,
        outcome: Outcome,
        *,
        exit_code: int | None = None,
        seconds: float | None = None,
        output: str = "",
        reason: str = "",
    ) -> None:
        task, context = self._task, self._context
        entry = HistoryEntry(
            at=context.clock.now(),
            service=task.service,
            action=task.kind,
            outcome=outcome,
            who=current_user(),
            command=context.command,
            began=self._began,
            to=self._revision,
            reason=reason,
            container=self.container,
            seconds=seconds,
            exit_code=exit_code,
        )
        _append(context, entry)
        if not task.job:
            return
        redacted = redactor(self.secrets)(output)
        self._update_result(
            lambda last: msgspec.structs.replace(
                last,
                revision=self._revision,
                began=self._began,
                seconds=seconds,
                exit_code=exit_code,
                output=redacted,
                failures=last.failures + 1 if exit_code else 0,
            )
        )

    def _update_result(self, update: Callable[[JobResult], JobResult]) -> None:
        """Change the job's last result under its own lock, so that two runs that end at once are both recorded."""
        task, context = self._task, self._context
        if not task.job:
            return
        try:
            with context.locks.hold(job_locks(task.service, task.job)[-1], RESULT_SECONDS):
                last = context.store.job(task.service, task.job) or JobResult(service=task.service, job=task.job)
                context.store.write_job(update(last))
        except ConductorError as error:
            write_notice(f"warning: {error.sentence}")


def record_overdue(context: TaskContext, container: TaskContainer) -> None:
    """Record that a task was removed after its deadline because its own `conductor run` had been killed."""
    entry = HistoryEntry(
        at=context.clock.now(), service=container.service, action=container.kind, outcome=Outcome.OVERDUE,
        to=container.revision, container=container.name,
    )  # fmt: skip
    _append(context, entry)


def _append(context: TaskContext, entry: HistoryEntry) -> None:
    try:
        context.history.append(entry)
    except ConductorError as error:
        write_notice(f"warning: {error.sentence}")
