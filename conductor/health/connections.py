"""Which endpoints accept no connections, tried for all of them together by one thread."""

from collections.abc import Callable, Collection

from conductor.health.probe import unaccepted

INTERVAL_SECONDS = 1.0  # between two rounds
# A node that is lost refuses nothing: two missed connections, of a second each, end the requests to it within 4 s.
TIMEOUT_SECONDS = 1.0
FAILURES = 2


class Connections:
    """Knows which of the endpoints that it watches fail. `changed` is called when one begins or ceases to."""

    def __init__(
        self,
        changed: Callable[[], None],
        find_unaccepted: Callable[[Collection[str], float], frozenset[str]] = unaccepted,
    ) -> None:
        self._changed = changed
        self._find_unaccepted = find_unaccepted
        self._endpoints: frozenset[str] = frozenset()
        self._missed: dict[str, int] = {}  # how many times in a row, by endpoint

    def watch(self, endpoints: Collection[str]) -> None:
        """Try exactly these from the next round on."""
        self._endpoints = frozenset(endpoints)

    def failing(self) -> frozenset[str]:
        """Return the endpoints that have not accepted the last `FAILURES` connections."""
        return frozenset(endpoint for endpoint, times in self._missed.items() if times >= FAILURES)

    def look(self) -> None:
        """Make one round."""
        before = self.failing()
        self._missed = {
            one: self._missed.get(one, 0) + 1 for one in self._find_unaccepted(self._endpoints, TIMEOUT_SECONDS)
        }
        if self.failing() != before:
            self._changed()
