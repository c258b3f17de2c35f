"""The port to what keeps the shared objects of a fleet."""

import threading
from typing import NamedTuple, Protocol

from conductor.clock import Clock
from conductor.plan.lease import Values

RECENT_SECONDS = 1.0


class StoredObject(NamedTuple):
    """An object as it was read. `version` grows with each write of it."""

    name: str
    id: str
    version: int
    values: Values


class Objects(Protocol):
    """The objects of one instance. Every call raises `ConductorError`, `RuntimeUnavailable` while there is no leader."""

    def read(self, name: str) -> StoredObject | None:
        """Return an object, or None."""

    def read_all(self) -> tuple[StoredObject, ...]:
        """Return all objects, sorted by name."""

    def create(self, name: str, values: Values) -> bool:
        """Create an object; return False when it exists, and was not created by this very call."""

    def write(self, found: StoredObject, values: Values) -> bool:
        """Replace the values of the object that was read; return False when it was written or removed since."""

    def remove(self, name: str) -> None:
        """Remove an object. A missing one is no error."""


class RecentObjects:
    """Implements `Objects` for the passes of `supervise`: one request answers all reads within `RECENT_SECONDS`."""

    def __init__(self, objects: Objects, clock: Clock) -> None:
        self._objects = objects
        self._clock = clock
        self._lock = threading.Lock()
        self._found: tuple[StoredObject, ...] = ()
        self._until = clock.monotonic()

    def expire(self) -> None:
        """Make the next read a request."""
        self._until = self._clock.monotonic()

    def read(self, name: str) -> StoredObject | None:
        """Return an object as it was a moment ago."""
        return next((one for one in self.read_all() if one.name == name), None)

    def read_all(self) -> tuple[StoredObject, ...]:
        """Return all objects as they were a moment ago."""
        with self._lock:
            now = self._clock.monotonic()
            if now >= self._until:
                self._found = self._objects.read_all()
                self._until = now + RECENT_SECONDS
            return self._found

    def create(self, name: str, values: Values) -> bool:
        """As `Objects`. The next read shows it."""
        self.expire()
        return self._objects.create(name, values)

    def write(self, found: StoredObject, values: Values) -> bool:
        """As `create`."""
        self.expire()
        return self._objects.write(found, values)

    def remove(self, name: str) -> None:
        """As `create`."""
        self.expire()
        self._objects.remove(name)
