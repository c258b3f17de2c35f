"""Which addresses new containers get: a cursor walks the range, and nothing still known to anybody is dealt (pure)."""

import ipaddress
from collections.abc import Collection, Iterator

import msgspec

from conductor.definitions.model import Network, Service
from conductor.errors import ConductorError
from conductor.plan.values import Worker


class Addresses(msgspec.Struct, frozen=True, kw_only=True):
    """`addresses.json`. `cursor` is the last address dealt per range; `reserved` maps an address to its change;
    `quarantine` maps an address to the nginx workers that knew it and still lived when its container went.
    """

    version: int = 1
    cursor: dict[str, str] = {}
    reserved: dict[str, str] = {}
    quarantine: dict[str, tuple[Worker, ...]] = {}

    def without_dead(self, alive: Collection[Worker]) -> "Addresses":
        """The same, less the quarantine that ended because none of its workers lives any more."""
        kept = {a: w for a, w in self.quarantine.items() if any(worker in alive for worker in w)}
        return msgspec.structs.replace(self, quarantine=kept)

    def released(self, change: str, addresses: Collection[str], workers: tuple[Worker, ...]) -> "Addresses":
        """The same after a change ended: its reservations gone, `addresses` quarantined while `workers` live."""
        reserved = {a: c for a, c in self.reserved.items() if c != change}
        extra = dict.fromkeys(addresses, workers) if workers else {}
        return msgspec.structs.replace(self, reserved=reserved, quarantine={**self.quarantine, **extra})


def _candidates(service: Service, network: Network) -> tuple[str, Iterator[str]]:
    if service.publish is not None:
        low, high = service.publish
        return f"publish:{low}-{high}", (f"127.0.0.1:{port}" for port in range(low, high + 1))
    subnet, tasks = ipaddress.IPv4Network(network.subnet), ipaddress.IPv4Network(network.tasks)
    hosts = list(subnet.hosts())[1:]  # the first is the bridge's own
    return network.subnet, (f"{ip}:{service.port or 0}" for ip in hosts if ip not in tasks)


def pick(
    book: Addresses, service: Service, network: Network, *, change: str, count: int, used: Collection[str]
) -> tuple[Addresses, tuple[str, ...]]:
    """Reserve `count` addresses for a change, from the cursor on. `used` are IPs or `127.0.0.1:PORT` in use now."""
    key, every = _candidates(service, network)
    order = list(every)
    position = order.index(book.cursor[key]) + 1 if book.cursor.get(key) in order else 0
    taken = {_place(a) for a in (*book.reserved, *book.quarantine, *used)}
    free = [a for a in order[position:] + order[:position] if _place(a) not in taken][:count]
    if len(free) < count:
        raise ConductorError(
            f"cannot find {count} free addresses in {key}: {len(order)} in all, {len(taken)} in use or in quarantine",
            "widen the range, or wait until nginx workers from before earlier upgrades are gone",
        )
    reserved = {**book.reserved, **dict.fromkeys(free, change)}
    cursor = {**book.cursor, key: free[-1]} if free else book.cursor
    return msgspec.structs.replace(book, reserved=reserved, cursor=cursor), tuple(free)


def _place(address: str) -> str:
    """What must not be dealt twice: an IP of the network, or a loopback port."""
    return address if address.startswith("127.0.0.1:") else address.partition(":")[0]
