"""The peers that nginx uses now, and the requests in progress, read and set over Conductor's own socket.

The peers on disk are the truth; those in nginx's memory are its running copy.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from conductor.errors import ConductorError
from conductor.plan.canary import Comparison, Figures
from conductor.traffic import processes
from conductor.traffic.nginx import Nginx
from conductor.traffic.peers import Peers, decoded, encoded
from conductor.traffic.processes import Worker

REFUSALS = {409, 507}  # of Conductor's Lua code, which says why


class InFlight(NamedTuple):
    """How many `requests` to `address` a living worker has in progress, chosen from one generation of a service's peers."""

    worker: Worker
    service: str
    generation: int
    address: str
    requests: int


class Dictionary:
    """The shared memory of one nginx."""

    def __init__(self, nginx: Nginx) -> None:
        self._nginx = nginx

    def is_there(self) -> bool:
        """True when nginx answers, and runs with Conductor's Lua code."""
        return (self._nginx.status.request("GET", "/live") or (0,))[0] == 200

    def peers(self) -> dict[str, Peers]:
        """Return the peers of each service that were set since nginx started."""
        found = (decoded(words[0]) for words in self._lines("peers") or ())
        return {one.service: one for one in found if one}

    def set(self, wanted: Collection[Peers]) -> None:
        """Set the peers of services in one call. Raise unless nginx uses them now."""
        if not wanted:
            return
        answer = self._nginx.status.request("POST", "/live", "".join(f"{encoded(one)}\n" for one in wanted))
        if answer is None or answer[0] != 200:
            own = f": {answer[1].strip()}" if answer and answer[0] in REFUSALS else ""  # otherwise HTML
            cause = f"nginx returned {answer[0]}{own}" if answer else "nginx is not responding"
            raise ConductorError(
                f"cannot update nginx's list of replicas for {', '.join(one.service for one in wanted)}: {cause}",
                "conductor nginx install",
            )

    def requests(self) -> list[InFlight] | None:
        """Return the requests in progress. Those that a killed worker had are left out. None when nginx is not responding, or one of
        two masters does, whose memory has no count of the other."""
        lines = self._lines("held")
        return (
            None
            if lines is None or self._nginx.second_master()
            else list(_living([words for words in lines if int(words[4]) > 0]))
        )

    def compared(self, peers: Peers) -> Comparison:
        """Return the figures of a canary: what its old and its new replicas have answered."""
        counted: dict[str, dict[str, int]] = {"old": {}, "new": {}}
        for service, generation, group, what, number in self._lines("stat") or ():
            if (service, int(generation)) == (peers.service, peers.generation):
                counted[group][what] = int(number)
        return Comparison(*map(_figures, counted.values()))

    def _lines(self, kind: str) -> list[list[str]] | None:
        """Return nothing for an nginx without Conductor's Lua code; None when one with it cannot answer."""
        answer = self._nginx.status.request("GET", "/live")
        if answer is None or answer[0] not in {200, 404}:
            return None
        lines = (line.split() for line in answer[1].splitlines()) if answer[0] == 200 else ()
        return [words[1:] for words in lines if words[0] == kind]


def _figures(counted: dict[str, int]) -> Figures:
    requests, errors = counted.pop("requests", 0), counted.pop("errors", 0)
    buckets = sorted(
        (int(bucket), number) for bucket, number in counted.items()
    )  # of 1.1 to the power of N milliseconds
    beyond = 0.05 * sum(number for _, number in buckets)
    p95 = None
    for bucket, number in reversed(buckets):
        p95 = 1.1**bucket / 1000
        beyond -= number
        if beyond < 0:
            break
    return Figures(requests, errors, p95)


def _living(lines: Collection[list[str]]) -> Iterator[InFlight]:
    workers = {pid: processes.worker(int(pid)) for pid in {words[0] for words in lines}}
    for pid, service, generation, address, requests in lines:
        if (worker := workers[pid]) is not None:
            yield InFlight(worker, service, int(generation), address, int(requests))


def with_connection(found: Collection[InFlight]) -> list[InFlight]:
    """Return the requests whose worker has an open connection to the address, at most one request for each connection.

    A request without one is no longer in the replica: its response is being sent, or its count was lost.
    """
    workers = tuple({one.worker for one in found})
    opened = dict(zip(workers, processes.connections(workers), strict=True))
    bounded = (
        one._replace(requests=min(one.requests, sum(each.remote == one.address for each in opened[one.worker])))
        for one in found
    )
    return [one for one in bounded if one.requests]
