"""What a container listens on, from its kernel tables of TCP sockets, and why that fails its health check (pure)."""

import ipaddress
import re
import sys
from collections.abc import Collection
from typing import NamedTuple

_DOCKER_DNS = ipaddress.IPv4Address("127.0.0.11")  # Docker's own resolver listens inside every container
_LISTENING = re.compile(r"^ *\d+: ([0-9A-F]{32}|[0-9A-F]{8}):([0-9A-F]{4}) [0-9A-F]+:[0-9A-F]{4} 0A ", re.MULTILINE)


class Listener(NamedTuple):
    """A listening TCP socket. The unspecified IPv6 address accepts IPv4 too, unless the app has turned that off."""

    ip: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int

    def __str__(self) -> str:
        return f"[{self.ip}]:{self.port}" if self.ip.version == 6 else f"{self.ip}:{self.port}"


def parse(tables: str) -> tuple[Listener, ...]:
    """Return the listeners in the text of `/proc/PID/net/tcp` and `tcp6`; addresses are words in the host's byte order."""
    found = {Listener(_address(ip), int(port, 16)) for ip, port in _LISTENING.findall(tables)}
    return tuple(
        sorted((one for one in found if one.ip != _DOCKER_DNS), key=lambda one: (one.port, one.ip.version, one.ip))
    )


def _address(digits: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    words = [int(digits[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(digits), 8)]
    address = ipaddress.ip_address(b"".join(words))
    return getattr(address, "ipv4_mapped", None) or address


def explanation(listeners: Collection[Listener], port: int, *, refused: bool) -> str | None:
    """Return why a connection from the host to `port` fails; None when `listeners` do not show it.

    `refused`: the connection was refused, so that an unspecified IPv6 address does not accept IPv4.
    """
    if not listeners:
        return "the app is not listening on any TCP port"
    on_port = [one for one in listeners if one.port == port]
    shown = ", ".join(str(one) for one in on_port or listeners)
    if not on_port:
        return (
            f"the app is listening on {shown}, not on port {port}: change the app's port or the port in the definition"
        )
    if all(one.ip.is_loopback for one in on_port):
        return f"the app is listening only on {shown}, which cannot be reached from outside the container: listen on 0.0.0.0"
    if refused and all(one.ip.version == 6 or one.ip.is_loopback for one in on_port):
        return (
            f"the app is listening on {shown} over IPv6 only, but health checks and nginx use IPv4: listen on 0.0.0.0"
        )
    return None
