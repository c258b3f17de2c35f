"""One line of the history (pure)."""

from enum import StrEnum
from typing import Literal

import msgspec

from conductor.plan.journal import ChangeAction, StepName
from conductor.plan.replica import Kind


class Outcome(StrEnum):
    """How an action ended."""

    DONE = "done"
    REFUSED = "refused"  # preflight; nothing was changed
    ROLLED_BACK = "rolled-back"  # it failed
    INTERRUPTED = "interrupted"  # by a signal, and rolled back
    RECOVERED = "recovered"  # finished by another process after its own was killed
    RECOVERED_ROLLED_BACK = "recovered-rolled-back"  # rolled back by another process
    STARTED = "started"  # detached, or the lock was yielded; its end is not recorded
    FAILED = "failed"  # a task that could not run, or an action of `supervise` that is no change
    TIMED_OUT = "timed-out"
    HUNG_UP = "hung-up"  # a console whose terminal is gone
    UNATTENDED = "unattended"  # a task that ended after its `conductor run` was killed
    OVERDUE = "overdue"  # a task that was removed because it did not end
    NEVER_STARTED = "never-started"

    @classmethod
    def _missing_(cls, value: object) -> "Outcome | None":
        """Read the name that an earlier version wrote."""
        return cls.RECOVERED_ROLLED_BACK if value == "recovered-back" else None


FINISHED = {Outcome.DONE, Outcome.RECOVERED}
RECOVERIES = {Outcome.RECOVERED, Outcome.RECOVERED_ROLLED_BACK}

HistoryAction = (
    ChangeAction
    | Kind
    | Literal["restart-exited", "reroute", "pause", "resume", "cron-install", "cron-remove", "gc"]
    | Literal["start-again"]  # the name of restart-exited in an earlier version
)  # what people or `supervise` did


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"from_": "from"}):
    """One action on one service. Times are RFC 3339 in UTC, durations seconds; revisions in `from` and `to`.

    `reason` is what an operator gave, or why the action was refused or rolled back. `failures` counts the attempts of
    `supervise` that failed in a row, up to this entry: not each of them has an entry. `cut` counts the requests that the drain
    cut, `waited` is how long the change waited for locks; of a change of several services, one entry has them.
    """

    at: str
    service: str
    action: HistoryAction
    outcome: Outcome
    who: str = ""
    command: str = ""
    change: str = ""
    began: str = ""
    from_: str | None = None
    to: str | None = None
    image_id: str = ""
    image_digest: str = ""
    count: int | None = None
    reason: str = ""
    until: str | None = None
    warnings: int = 0
    steps: dict[StepName, float] = {}
    container: str = ""
    seconds: float | None = None
    exit_code: int | None = None
    failures: int = 0
    cut: int = 0
    waited: float = 0.0
