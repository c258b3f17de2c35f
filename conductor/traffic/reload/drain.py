"""The drain: old workers exit, or are shown to have no client that could still reach an old endpoint."""

from collections.abc import Callable, Collection
from math import ceil
from typing import NamedTuple

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.traffic import processes
from conductor.traffic.port import Drained, Draining
from conductor.traffic.processes import TcpConnection, Worker

FIRST_POLL_SECONDS = 0.01
LONGEST_POLL_SECONDS = 0.2
INSPECT_SECONDS = 1.0  # most old workers have exited by then; the sockets of the others are inspected


class WorkerSockets(NamedTuple):
    """What the sockets of an old worker show. `to_old`: connections to an old endpoint. `silent`: client connections
    without a request in progress. `harmless`: every client is tied to another endpoint, so no request can reach an old
    one."""

    to_old: int
    silent: int
    harmless: bool


def inspect(
    connections: Collection[TcpConnection],
    listening_ports: Collection[int],
    endpoints: Collection[str],
    *,
    unix: bool = False,
) -> WorkerSockets:
    """Judge a worker that is shutting down: it accepts no client and keeps no connection alive.

    `unix`: it has clients on a unix socket, whose state is unknown. The result is valid only if one client
    connection uses one upstream connection at a time, which excludes HTTP/2 and subrequests.
    """
    clients = sum(c.local_port in listening_ports for c in connections)
    upstream = [c for c in connections if c.local_port not in listening_ports]
    to_old = sum(c.remote in endpoints for c in upstream)
    harmless = to_old == 0 and bool(listening_ports) and clients == len(upstream) and not unix
    return WorkerSockets(to_old, max(0, clients - len(upstream)), harmless)


def wait_until_drained(
    workers: Collection[Worker],
    ports: Collection[int],
    endpoints: Collection[str],
    *,
    inspectable: bool,
    seconds: float,
    clock: Clock,
    cancellation: Cancellation,
    progress: Callable[[Draining], None],
) -> Drained:
    """Wait until every worker has exited, or each survivor was found harmless twice in a row; at most `seconds`.

    `inspectable`: one client connection uses one upstream connection at a time, so the sockets prove something.
    """
    began, pause, harmless = clock.monotonic(), FIRST_POLL_SECONDS, 0
    while living := tuple(worker for worker in workers if processes.alive(worker)):
        waited = clock.monotonic() - began
        found = [
            inspect(held, ports, endpoints, unix=processes.has_unix_clients(worker))
            for worker, held in zip(living, processes.connections(living), strict=True)
        ]
        proven = inspectable and waited > INSPECT_SECONDS and all(one.harmless for one in found)
        harmless = harmless + 1 if proven else 0
        if harmless >= 2:
            return Drained()
        requests, silent = sum(one.to_old for one in found), sum(one.silent for one in found)
        if waited >= seconds:
            return Drained(cut=requests, silent=silent)
        left = ceil(seconds - waited)
        progress(Draining(requests=requests, connections=silent, workers=len(living), seconds_left=left))
        cancellation.wait(pause)
        pause = min(pause * 1.5, LONGEST_POLL_SECONDS)
    return Drained()
