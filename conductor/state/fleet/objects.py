"""The port to what keeps the shared objects of a fleet."""

from typing import NamedTuple, Protocol

from conductor.plan.lease import Values


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
