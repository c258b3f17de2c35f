"""What can go wrong, as values: each error is a sentence, what to do next, and the exit code of DESIGN section 4.

Context translate what the outside says into these; only the command line tells them (`conductor/cli.py`).
"""

from typing import ClassVar


class ConductorError(Exception):
    """A sentence ("cannot X: why"), an optional hint (what to do next) and details (lines shown as they are)."""

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


class UsageError(ConductorError):
    """The call or the definitions are wrong; nothing was changed."""

    exit_code = 2


class BusyError(ConductorError):
    """Somebody else holds the lock."""

    exit_code = 5


class OperatorError(ConductorError):
    """Done, but something is left that an operator must see to."""

    exit_code = 4


class LockYielded(BaseException):
    """`supervise` lets go of what it does; what stands in the journal says where it was."""


class Interrupted(ConductorError):  # noqa: N818 (a person's wish, not an error)
    """A signal asked to stop before the commit; what was begun is undone."""

    def __init__(self, signal_number: int, what_runs: str = "") -> None:
        super().__init__("interrupted; what was begun is undone", "", (what_runs,) if what_runs else ())
        self.signal_number = signal_number

    @property
    def code(self) -> int:
        """130 for SIGINT, 143 for SIGTERM."""
        return 128 + self.signal_number
