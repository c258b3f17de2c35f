"""Errors as values: a sentence, details, one hint, and the exit code.

Adapters translate foreign exceptions into these. Only the command line reports them (`conductor/cli.py`).
"""

from typing import ClassVar, NamedTuple, Self


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


class UsageError(ConductorError):
    """The command line or the definitions are invalid. Nothing was changed."""

    exit_code = 2


class OperatorError(ConductorError):
    """The action is done, but an operator has to finish something by hand."""

    exit_code = 4


class LockHolder(NamedTuple):
    """The process that holds a lock: its command, since when (RFC 3339), and whether it yields the lock when asked."""

    pid: int
    command: str
    since: str
    yields: bool = False

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command}) has held it since {self.since}"


class BusyError(ConductorError):
    """Another process holds the lock. `holder` is None while a new holder has not written its name yet."""

    exit_code = 5

    def __init__(self, lock: str, holder: LockHolder | None, hint: str = "wait for it with --wait 5m") -> None:
        super().__init__(f"cannot lock {lock}: {holder or 'another process holds it'}", hint)
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
