"""The history of a fleet: every manager has all entries in its own file. The object of a service holds the latest ones."""

import contextlib
from pathlib import Path
from typing import Final

import msgspec

from conductor.errors import ConductorError
from conductor.json_text import decode
from conductor.plan.history import HistoryEntry
from conductor.plan.lease import Values
from conductor.state.fleet.leases import Leases
from conductor.state.fleet.objects import Objects
from conductor.state.history import History, latest

HISTORY: Final = "history"  # a value in the object of a service
SHARED_ENTRIES = 20  # of each service: a manager that was away for longer misses the ones before


class FleetHistory(History):
    """Implements `HistoryWriter`. What is written under the lock of a service is shared: changes, but not tasks."""

    def __init__(self, directory: Path, leases: Leases) -> None:
        super().__init__(directory)
        self._leases = leases

    def append(self, entry: HistoryEntry) -> None:
        """Write the entry here first. When it cannot be shared, the change is recorded all the same."""
        super().append(entry)
        with contextlib.suppress(ConductorError):
            stored = _entries(self._leases.values(entry.service))
            text = msgspec.json.encode((*stored, entry)[-SHARED_ENTRIES:]).decode()
            self._leases.write(entry.service, {HISTORY: text})


class HistoryFollower:
    """Copies the entries of other managers into the file of this one."""

    def __init__(self, directory: Path, objects: Objects) -> None:
        self._directory = directory
        self._objects = objects
        self._followed: dict[str, str] = {}

    def follow(self) -> None:
        """Append what is new. One read of all objects."""
        for found in self._objects.read_all():
            text = found.values.get(HISTORY, "")
            if text != self._followed.get(found.name, ""):
                self._copy(found.name, _entries(found.values))
                self._followed[found.name] = text

    def _copy(self, service: str, entries: tuple[HistoryEntry, ...]) -> None:
        known = set()
        for line in latest(self._directory):
            if line.at < entries[0].at:
                break
            if line.service == service:
                known.add(line.raw)
        for entry in entries:
            if msgspec.json.encode(entry) not in known:
                History(self._directory).append(entry)


def _entries(values: Values) -> tuple[HistoryEntry, ...]:
    return decode(values[HISTORY], tuple[HistoryEntry, ...]) if HISTORY in values else ()
