"""Which endpoints accept no connections, so that a host that is lost is noticed long before the health checks of its replicas fail.

One thread tries one endpoint of each host. It tries the others of a host only after that one has accepted no connection.
"""

from collections.abc import Callable, Collection

from conductor.health.probe import unaccepted

INTERVAL_SECONDS = 1.0  # between two rounds
# A host that is lost refuses nothing: two missed connections, of a second each, end the requests to it within 4 s.
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
        # How many times in a row, by endpoint. Replaced and never changed, because other threads read it.
        self._missed: dict[str, int] = {}
        self._rounds = 0

    def watch(self, endpoints: Collection[str]) -> None:
        """Try these from the next round on, and no others."""
        self._endpoints = frozenset(endpoints)

    def failing(self) -> frozenset[str]:
        """Return the endpoints that have not accepted the last `FAILURES` connections."""
        return frozenset(endpoint for endpoint, times in self._missed.items() if times >= FAILURES)

    def look(self) -> None:
        """Make one round. When the endpoint that is tried for its host is missed, so are the others of that host, and the next round
        tries them all."""
        before = self.failing()
        self._rounds += 1
        samples = self._one_of_each_host(self._endpoints - before)
        tried = samples | (self._endpoints & self._missed.keys())
        missed = self._find_unaccepted(tried, TIMEOUT_SECONDS)
        lost = set(map(_host, missed & samples))
        suspected = dict.fromkeys((one for one in self._endpoints - tried if _host(one) in lost), 1)
        self._missed = suspected | {one: self._missed.get(one, 0) + 1 for one in missed}
        if self.failing() != before:
            self._changed()

    def _one_of_each_host(self, endpoints: Collection[str]) -> frozenset[str]:
        """Return another one in each round."""
        of: dict[str, list[str]] = {}
        for one in sorted(endpoints):
            of.setdefault(_host(one), []).append(one)
        return frozenset(each[self._rounds % len(each)] for each in of.values())


def _host(endpoint: str) -> str:
    return endpoint.rpartition(":")[0]
