"""The supervisor log: one line per action on stderr, and the same failure in a row only once."""

import os
import traceback
from collections.abc import Callable

from conductor.errors import ConductorError
from conductor.output.events import Event, Warned
from conductor.output.streams import write_stderr
from conductor.output.verbosity import is_quiet
from conductor.plan.reconcile import Action

INFO, WARNING = 6, 4  # sd-daemon(3)
Identity = tuple[tuple[type[BaseException], str, int], ...]


class SupervisorLog:
    """Writes lines to stderr, with priorities when the journal reads them.

    A failure is written in full; when it repeats, only how often, after 2, 4, 8 … times.
    """

    def __init__(self, write: Callable[[str], None] = write_stderr) -> None:
        self._write = write
        self._priorities = "JOURNAL_STREAM" in os.environ
        self._failures: dict[str, tuple[Identity, int]] = {}
        self._warnings: dict[str, str] = {}  # the latest one of each service

    @property
    def has_failures(self) -> bool:
        """True while a failure has not been followed by `recovered`."""
        return bool(self._failures)

    def info(self, text: str) -> None:
        """Write a line."""
        self._lines(text, INFO)

    def warn(self, text: str) -> None:
        """Write a warning."""
        self._lines(text, WARNING)

    def _lines(self, text: str, priority: int) -> None:
        for line in text.splitlines() if priority == WARNING or not is_quiet() else ():
            self._write(f"<{priority}>{line}" if self._priorities else line)

    def started(self, service: str, action: Action, reason: str) -> None:
        """Report that an action begins. The retry of a failed one is reported only when it ends."""
        if service not in self._failures:
            self.info(f"{service}: {action.name} started: {reason}")

    def done(self, service: str, action: Action) -> None:
        """Report that an action succeeded."""
        self.info(f"{service}: {action.name} done")

    def yielded(self, service: str, action: Action) -> None:
        """Report that an action stopped, because another command waits for the lock or `supervise` ends."""
        self.info(f"{service}: {action.name} stopped: a command is waiting for the lock, or supervise is exiting")

    def warned(self, service: str, warning: Warned) -> None:
        """Report a warning of an action; an equal one in a row once."""
        if self._warnings.get(service) != warning.text:
            self._warnings[service] = warning.text
            self.warn(f"{service}: {warning.text}")

    def failed(self, subject: str, error: BaseException) -> None:
        """Report a failure of a service or of a part of `supervise`."""
        same = identity(error)
        before, times = self._failures.get(subject, ((), 0))
        times = times + 1 if same == before else 1
        self._failures[subject] = (same, times)
        if times == 1:
            details = error.details if isinstance(error, ConductorError) else ()
            self.warn("\n".join([f"{subject}: {sentence(error)}", *details]))
        elif times & (times - 1) == 0:
            self.warn(f"{subject}: failed {times} times: {sentence(error)}")

    def recovered(self, subject: str) -> None:
        """End the counting: the next failure of `subject` is written in full, and its next warning is new."""
        self._failures.pop(subject, None)
        self._warnings.pop(subject, None)


class WarningOutput:
    """Implements `Output` for one action: writes its warnings to the log."""

    def __init__(self, log: SupervisorLog, service: str) -> None:
        self._log = log
        self._service = service

    def emit(self, event: Event) -> None:
        """Write the event if it is a warning."""
        if isinstance(event, Warned):
            self._log.warned(self._service, event)


def sentence(error: BaseException) -> str:
    """Return the one line of an error."""
    if isinstance(error, ConductorError):
        return error.sentence
    return f"this is a bug in Conductor: {type(error).__name__}: {error}"


def identity(error: BaseException) -> Identity:
    """Return what makes two failures the same: type and place where it was raised, of the error and each of its causes."""
    found: dict[int, tuple[type[BaseException], str, int]] = {}
    cause: BaseException | None = error
    while cause is not None and id(cause) not in found:  # an error that is raised from itself is its own cause
        frames = list(traceback.walk_tb(cause.__traceback__))
        place = (frames[-1][0].f_code.co_filename, frames[-1][1]) if frames else ("", 0)
        found[id(cause)] = (type(cause), *place)
        cause = cause.__cause__
    return tuple(found.values())
