"""Errors as values: a sentence, details, one hint, and the exit code.

Adapters translate foreign exceptions into these. Only the command line reports them (`conductor/cli.py`).
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple, Self

from conductor.times import time_text

SUMMARIZED = 3  # problems of a file that the history stores


class ConductorError(Exception):
    """An error to report: `sentence` ("cannot X: cause"), `details` (lines shown unchanged) and `hint` (what to do next)."""

    exit_code: ClassVar[int] = 1

    def __init__(self, sentence: str, hint: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.hint = hint
        self.details = details

    @property
    def code(self) -> int:
        """The exit code."""
        return self.exit_code

    @property
    def summary(self) -> str:
        """What the history stores: the sentence, with the cause where only the details have it."""
        return self.sentence

    def within(self, action: str = "", *, details: tuple[str, ...] = (), hint: str = "") -> Self:
        """Return the same error with context: "cannot ACTION: " in front, more details after its own, a hint if it has none.

        The type and the exit code stay, and so does this error: raise the result `from` it.
        """
        wrapped = self.__class__.__new__(self.__class__)
        wrapped.__dict__.update(self.__dict__)
        wrapped.sentence = f"cannot {action}: {self.sentence}" if action else self.sentence
        wrapped.args = (wrapped.sentence,)
        wrapped.details = (*self.details, *details)
        wrapped.hint = self.hint or hint
        return wrapped


def is_denied(error: BaseException | None) -> bool:
    """Return whether the caller lacks the permission for what failed."""
    return isinstance(error, PermissionError) or (error is not None and is_denied(error.__cause__))


def first_of(problems: Sequence[object]) -> str:
    """Return the first three problems as one text, and how many more there are."""
    more = f" and {len(problems) - SUMMARIZED} more" if len(problems) > SUMMARIZED else ""
    return "; ".join(map(str, problems[:SUMMARIZED])) + more


def is_text(word: str) -> bool:
    """Return False when a word of the caller's is not UTF-8: Python then keeps its bytes as lone surrogates."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


class UsageError(ConductorError):
    """The command line or the definitions are invalid. Nothing was changed."""

    exit_code = 2


class OperatorError(ConductorError):
    """The action is done, but an operator has to finish something by hand."""

    exit_code = 4


class LockHolder(NamedTuple):
    """The process that holds a lock: its command, since when (RFC 3339), and whether it yields the lock when asked. `node` is
    the host of a fleet on which it runs, empty for this one."""

    pid: int
    command: str
    since: str
    yields: bool = False
    node: str = ""

    def __str__(self) -> str:
        where = f" on {self.node}" if self.node else ""
        return f"process {self.pid}{where} ({self.command}) has held it since {time_text(self.since)}"


class BusyError(ConductorError):
    """Another process holds the lock. `holder` is None while a new holder has not written its name yet."""

    exit_code = 5

    def __init__(
        self, lock: str, holder: LockHolder | None, hint: str = "run the command again once that process has ended"
    ) -> None:
        super().__init__(f"cannot lock {lock}: {holder or 'another process holds the lock'}", hint)
        self.holder = holder


class LockYielded(BaseException):
    """`supervise` stops its action and releases the lock: another command waits for it, or `supervise` itself ends.

    The journal records how far the action is, so the next holder of the lock recovers it.
    """


class Interrupted(ConductorError):  # noqa: N818 (a request to stop, not a failure)
    """SIGINT or SIGTERM arrived before the commit."""

    def __init__(self, signal_number: int) -> None:
        super().__init__("interrupted")
        self.signal_number = signal_number

    @property
    def code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.signal_number
