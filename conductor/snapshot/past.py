"""The facts from the history in a snapshot: the latest change and the restarts of each service."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import get_args

import msgspec

from conductor.clock import seconds_between
from conductor.plan.history import FINISHED, HistoryEntry, Outcome
from conductor.plan.journal import ChangeAction
from conductor.state.history import latest

RESTARTS: Collection[str] = {
    "repair",
    "restart-exited",
    "start-again",
}  # actions of `supervise` that replace or start replicas
CHANGES: Collection[str] = set(get_args(ChangeAction))


class LastChange(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """The latest change of a service: what was done, who did it, when it ended (RFC 3339, UTC), and how long it took.

    `from` and `to` are revisions. `reason` is what an operator gave, why `supervise` acted, or why the change failed.
    """

    action: ChangeAction
    outcome: Outcome
    at: str
    who: str = ""
    command: str = ""
    seconds: float | None = None
    from_: str | None = None
    to: str | None = None
    reason: str = ""

    @classmethod
    def of(cls, entry: HistoryEntry) -> "LastChange":
        """Return the change of an entry of the history."""
        seconds = entry.seconds
        if seconds is None and entry.began:
            seconds = seconds_between(entry.began, entry.at)
        return cls(
            action=entry.action,  # type: ignore[arg-type]  # only entries of changes get here
            outcome=entry.outcome, at=entry.at, who=entry.who, command=entry.command, seconds=seconds,
            from_=entry.from_, to=entry.to, reason=entry.reason,
        )  # fmt: skip


class Past(msgspec.Struct, kw_only=True):
    """The past of one service. `deployed` is when its live release was committed (RFC 3339, UTC); None when the latest part of
    the history does not have that. `restarts` counts the restarts since the beginning of the last hour, and `restart_reason` is
    why the latest of these was made."""

    last: LastChange | None = None
    deployed: str | None = None
    restarts: int = 0
    restart_reason: str = ""


def read_past(directory: Path, releases: Mapping[str, str], since: str) -> dict[str, Past]:
    """Return the past of each service in `releases`, which maps it to the id of its live release.

    `since` is when the last hour began. The history is read backwards, until everything is found or its limit is reached.
    """
    found = {service: Past() for service in releases}
    missing = set(releases)
    for line in latest(directory):
        if line.at < since and not missing:
            break
        past = found.get(line.service)
        relevant = line.action in CHANGES or line.action in RESTARTS
        if past is None or not relevant or (line.at < since and line.service not in missing):
            continue
        if (entry := line.entry()) is None:
            continue
        if line.action in CHANGES and past.last is None:
            past.last = LastChange.of(entry)
        done = entry.outcome in FINISHED
        if done and entry.change == releases[line.service] and past.deployed is None:
            past.deployed = entry.at
        if done and line.action in RESTARTS and line.at >= since:
            past.restarts += 1
            past.restart_reason = past.restart_reason or entry.reason
        if past.last is not None and past.deployed is not None:
            missing.discard(line.service)
    return found
