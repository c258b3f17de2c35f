"""The host kernel's routes and its range of ports for outgoing connections."""

import ipaddress
import socket
import struct
from pathlib import Path

ROUTES = Path("/proc/net/route")
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")


def overlapping_route(subnet: str, table: Path = ROUTES) -> str | None:
    """Return the first route (other than the default one) that overlaps `subnet`, as `NETWORK dev NAME`."""
    wanted = ipaddress.IPv4Network(subnet)
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return None  # without the table, the daemon's own check still applies
    for line in lines:
        device, destination, *rest = line.split()
        mask = rest[5]
        network = ipaddress.IPv4Network((_dotted(destination), _dotted(mask)), strict=False)
        if network.prefixlen > 0 and network.overlaps(wanted):
            return f"{network} dev {device}"
    return None


def ephemeral_ports(setting: Path = EPHEMERAL) -> tuple[int, int]:
    """Return the first and last port for outgoing connections; the kernel's default where the setting cannot be read."""
    try:
        first, last = setting.read_text().split()
    except OSError:
        return 32768, 60999
    return int(first), int(last)


def _dotted(little_endian_hex: str) -> str:
    return socket.inet_ntoa(struct.pack("<L", int(little_endian_hex, 16)))
