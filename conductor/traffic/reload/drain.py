"""What the sockets of an old worker say about a drain (pure)."""

from collections.abc import Collection
from typing import NamedTuple

from conductor.traffic.reload.processes import Connection


class View(NamedTuple):
    """`to_old`: connections to an old address. `silent`: client connections without a request under way.
    `harmless`: every client is tied to some other address, so nothing can come to an old one any more."""

    to_old: int
    silent: int
    harmless: bool


def look(
    connections: Collection[Connection],
    listening_ports: Collection[int],
    addresses: Collection[str],
    *,
    unix: bool = False,
) -> View:
    """Judge one worker that is shutting down; it accepts nobody new and keeps no connection alive. `unix`: it has
    clients on a unix socket, about whom nothing is known.

    Sound where one client connection uses one upstream connection at a time: not with HTTP/2 or subrequests.
    """
    clients = sum(c.local_port in listening_ports for c in connections)
    upstream = [c for c in connections if c.local_port not in listening_ports]
    to_old = sum(c.remote in addresses for c in upstream)
    return View(
        to_old,
        max(0, clients - len(upstream)),
        to_old == 0 and bool(listening_ports) and clients == len(upstream) and not unix,
    )
