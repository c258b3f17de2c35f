"""What was done to the services, as `service history` shows it (pure)."""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from conductor.clock import seconds_between
from conductor.plan.history import FINISHED, HistoryEntry
from conductor.times import duration_text, time_text

VERSION = 1  # of the JSON document
SHORT = 12  # characters of a revision, as in the names of containers
STEPS = 2  # that took longest are shown


def past_actions(
    entries: Iterable[HistoryEntry], service: str | None, since: str, tail: int | None = None
) -> list[HistoryEntry]:
    """Return the entries of one service or of all, from `since` (RFC 3339, UTC, or empty) on: all, or the last `tail`."""
    found = [one for one in entries if service in {None, one.service} and one.at >= since]
    return found if tail is None else found[max(0, len(found) - tail) :]


def document(entries: Sequence[HistoryEntry]) -> dict[str, Any]:
    """Return the JSON document of `service history`."""
    return {"version": VERSION, "history": msgspec.to_builtins(entries)}


def row(entry: HistoryEntry) -> tuple[str, ...]:
    """Return the columns of the table: time, service, who, action, revision, outcome, duration, details."""
    seconds = seconds_taken(entry)
    return (
        time_text(entry.at),
        entry.service,
        who_text(entry.who, entry.command) or "-",
        entry.action,
        _revisions(entry),
        entry.outcome.value,
        "-" if seconds is None else duration_text(seconds),
        "; ".join(filter(None, (_failures(entry), _details(entry)))),
    )


def who_text(who: str, command: str) -> str:
    """Return who did something, for people: `supervise` itself, or a user."""
    return command if command == "supervise" else who


def _details(entry: HistoryEntry) -> str:
    slowest = ", ".join(f"{name} {duration_text(taken)}" for name, taken in _longest(entry))
    return entry.reason or _exit(entry) or slowest


def _failures(entry: HistoryEntry) -> str:
    if entry.outcome in FINISHED and entry.failures:
        return f"after {entry.failures} failed attempt{'s' * (entry.failures != 1)}"
    return f"attempt {entry.failures}" if entry.failures > 1 else ""


def _exit(entry: HistoryEntry) -> str:
    return f"exited with code {entry.exit_code}" if entry.exit_code else ""


def _revisions(entry: HistoryEntry) -> str:
    old, new = (revision[:SHORT] if revision else "" for revision in (entry.from_, entry.to))
    if old and new and old != new:
        return f"{old} -> {new}"
    return new or old or "-"


def seconds_taken(entry: HistoryEntry) -> float | None:
    """Return how long it took: as recorded, or from its start to its end."""
    if entry.seconds is not None or not entry.began:
        return entry.seconds
    return seconds_between(entry.began, entry.at)


def _longest(entry: HistoryEntry) -> list[tuple[str, float]]:
    longest = sorted(entry.steps, key=lambda name: -entry.steps[name])[:STEPS]
    return [(name, taken) for name, taken in entry.steps.items() if name in longest]
