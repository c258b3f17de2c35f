"""Chooses addresses for new replicas: a cursor moves through the range, so a freed address is reused last (pure)."""

import ipaddress
from collections.abc import Collection, Iterable, Iterator

import msgspec

from conductor.definitions.host import Host
from conductor.definitions.model import Service
from conductor.errors import ConductorError
from conductor.plan.replica import Replica

LOOPBACK = "127.0.0.1:"


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """`addresses.json`. `cursor` is the last address given out in each range, `reserved` maps an address to its change."""

    version: int = 1
    cursor: dict[str, str] = {}
    reserved: dict[str, str] = {}

    def released(self, change: str) -> "Addresses":
        """Return the same without the reservations of a change that ended."""
        return msgspec.structs.replace(self, reserved={a: c for a, c in self.reserved.items() if c != change})


def reserve(
    book: Addresses, service: Service, host: Host, *, change: str, count: int, used: Collection[str]
) -> tuple[Addresses, tuple[str, ...]]:
    """Reserve `count` addresses for a change, from the cursor on: `IP:PORT`, or `IP` for a service without a port; in a fleet
    `:PORT`, of whichever node will run the replica.

    `used` are IPs, `IP:PORT` or `:PORT` that are in use or still known to the traffic layer.
    """
    range_name, every = _range(service, host)
    order = list(every)
    places = [_unique(address) for address in order]  # the last address may have had another service's port
    last = _unique(book.cursor.get(range_name, ""))
    start = places.index(last) + 1 if last in places else 0
    taken = {_unique(address) for address in (*book.reserved, *used)}
    if host.fleet is not None:  # a port belongs to one replica of all nodes
        taken |= {f":{address.rpartition(':')[2]}" for address in used if ":" in address}
    free = [address for address in order[start:] + order[:start] if _unique(address) not in taken][:count]
    if len(free) < count:
        raise ConductorError(
            f"cannot reserve {count} addresses in {range_name}: only {len(free)} of {len(order)} free",
            "widen the range, or wait until old nginx workers have exited",
        )
    reserved = {**book.reserved, **dict.fromkeys(free, change)}
    cursor = {**book.cursor, range_name: free[-1]} if free else book.cursor
    return msgspec.structs.replace(book, reserved=reserved, cursor=cursor), tuple(free)


def _range(service: Service, host: Host) -> tuple[str, Iterator[str]]:
    network = host.network
    if host.fleet is not None:
        low, high = host.fleet.ports
        return f"fleet:{low}-{high}", (f":{port}" for port in range(low, high + 1))
    if service.publish is not None:
        low, high = service.publish
        return f"publish:{low}-{high}", (f"{LOOPBACK}{port}" for port in range(low, high + 1))
    subnet, tasks = ipaddress.IPv4Network(network.subnet), ipaddress.IPv4Network(network.tasks)
    hosts = list(subnet.hosts())[1:]  # the first one is the gateway
    port = f":{service.port}" if service.port else ""
    return network.subnet, (f"{ip}{port}" for ip in hosts if ip not in tasks)


def _unique(address: str) -> str:
    """Return what must be unique of an address: the IP, or the port on the loopback interface or in a fleet."""
    return address if address.startswith((LOOPBACK, ":")) else address.partition(":")[0]


def located(reserved: Iterable[str], replicas: Iterable[Replica]) -> tuple[str, ...]:
    """Return the reserved addresses, with the node where a replica has been started at a `:PORT`."""
    found = {f":{one.endpoint.rpartition(':')[2]}": one.endpoint for one in replicas if one.endpoint}
    return tuple(found.get(address, address) for address in reserved)


def is_at(address: str, reserved: str) -> bool:
    """True when a replica at `address` has the address that was reserved for it."""
    return address.endswith(reserved) if reserved.startswith(":") else address == reserved
