"""The shared objects of a fleet in memory, with the calls of several managers in any order."""

import threading
from collections.abc import Callable

from conductor.plan.lease import Values
from conductor.runtime.port import RuntimeUnavailable
from conductor.state.fleet.objects import StoredObject


class FakeObjects:
    """Implements `Objects`. `turn` is called before each call; `away`: no leader answers; `read_only`: one was
    just elected."""

    def __init__(self, turn: Callable[[], None] = lambda: None) -> None:
        self.turn = turn
        self.away = self.read_only = False
        self.writes = 0
        self._lock = threading.Lock()
        self._objects: dict[str, StoredObject] = {}
        self._made = 0

    def read(self, name: str) -> StoredObject | None:
        self._begin()
        return self._objects.get(name)

    def read_all(self) -> tuple[StoredObject, ...]:
        self._begin()
        return tuple(sorted(self._objects.values(), key=lambda one: one.name))

    def create(self, name: str, values: Values) -> bool:
        self._begin_write()
        with self._lock:
            if name in self._objects:
                return False
            self._made += 1
            self.writes += 1
            self._objects[name] = StoredObject(name, f"id{self._made}", self._made, dict(values))
            return True

    def write(self, found: StoredObject, values: Values) -> bool:
        self._begin_write()
        with self._lock:
            now = self._objects.get(found.name)
            if now is None or (now.id, now.version) != (found.id, found.version):
                return False
            self.writes += 1
            self._objects[found.name] = now._replace(version=now.version + 1, values=dict(values))
            return True

    def remove(self, name: str) -> None:
        self._begin_write()
        with self._lock:
            self._objects.pop(name, None)

    def _begin(self) -> None:
        self.turn()
        if self.away:
            raise RuntimeUnavailable("cannot read: the swarm does not have a leader")

    def _begin_write(self) -> None:
        self._begin()
        if self.read_only:
            raise RuntimeUnavailable("cannot write: raft: failed to process the request: node lost leader status")
