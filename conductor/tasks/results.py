"""What is remembered of a task: a line in the history, and for a cron job its last run. Nothing of it fails the task."""

from collections.abc import Callable
from typing import Any

import msgspec

from conductor.caller import who
from conductor.definitions.redaction import redactor, without_cut_secret
from conductor.errors import ConductorError
from conductor.output.streams import remark
from conductor.plan.jobs import JobResult
from conductor.plan.tasks import Task
from conductor.tasks.attach import End
from conductor.tasks.context import TaskContext

KEPT_BYTES = 16384  # of the output of a cron job's last run
RESULT_LOCK_SECONDS = 10.0


class Record:
    """One run of a task at a revision. `redact` takes secrets out of what the app has said."""

    def __init__(self, context: TaskContext, task: Task, revision: str) -> None:
        self._context = context
        self._task = task
        self._revision = revision
        self._began = context.clock.now()
        self._output = b""
        self.container = ""
        self.secrets: tuple[object, ...] = ()

    def keep(self, data: bytes) -> None:
        """Remember the end of the output; by one thread."""
        if self._task.job:
            self._output = (self._output + data)[-KEPT_BYTES:]

    def began(self) -> None:
        """The job's turn has come; runs skipped from here on are counted anew."""
        task = self._task
        fresh = JobResult(service=task.service, job=task.job, revision=self._revision, began=self._began)
        self._note(lambda _: fresh)

    def skipped(self) -> None:
        """Another run of the job was under way."""
        self._note(lambda was: msgspec.structs.replace(was, skipped=was.skipped + 1))

    def ended(self, end: End) -> None:
        """With an exit code, of its own or of the end by force."""
        cut = {"": "", "timeout": "stopped: its time was over", "hangup": "stopped: its terminal was gone"}[end.cut]
        said = self._output.decode(errors="replace")
        if len(self._output) == KEPT_BYTES:  # then it may begin in the middle of a letter, or of a secret
            said = without_cut_secret(said.lstrip("\ufffd"), self.secrets)
        self._write(end.code, end.seconds, cut or "done", said)

    def detached(self) -> None:
        """It runs, and nobody stays to see how it ends."""
        self._write(None, None, "started, left to itself", "")

    def failed(self, error: ConductorError) -> None:
        """It could not be run, or how it ended is not known."""
        self._write(error.code, None, error.sentence, error.sentence)

    def _write(self, code: int | None, seconds: float | None, outcome: str, output: str) -> None:
        task, context = self._task, self._context
        line: dict[str, Any] = {
            "at": context.clock.now(), "began": self._began, "who": who(), "command": context.command, "action": task.kind,
            "service": task.service, "to": self._revision, "container": self.container, "seconds": seconds,
            "exit_code": code, "outcome": outcome,
        }  # fmt: skip
        try:
            context.store.record(line)
        except ConductorError as error:
            remark(f"warning: {error.sentence}")
        if not task.job:
            return
        mine = {"revision": self._revision, "began": self._began, "seconds": seconds, "exit_code": code}
        said = redactor(self.secrets)(output)
        self._note(lambda was: msgspec.structs.replace(was, **mine, output=said))

    def _note(self, change: Callable[[JobResult], JobResult]) -> None:
        """Under a lock of its own: of two runs that end at once neither is lost."""
        task, context = self._task, self._context
        if not task.job:
            return
        try:
            with context.locks.hold(f"{task.service}.{task.job}.result", RESULT_LOCK_SECONDS):
                was = context.store.job(task.service, task.job) or JobResult(service=task.service, job=task.job)
                context.store.write_job(change(was))
        except ConductorError as error:
            remark(f"warning: {error.sentence}")
