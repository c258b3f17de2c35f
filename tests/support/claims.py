"""Ports and subnets that no other test run on this machine takes at the same time.

A claim is a name in the kernel's abstract socket namespace: it goes with its holder, so nothing is left to clean up.
"""

import contextlib
import ipaddress
import json
import random
import socket
import subprocess
from collections.abc import Callable, Sequence
from typing import TypeVar

Wanted = TypeVar("Wanted")

PORTS = range(20000, 32000)  # below Linux's ephemeral range, which starts at 32768
SUBNETS = [f"10.213.{n}.0/24" for n in range(32, 256)]  # beside Conductor's default, 10.213.0.0/20


class Claims:
    """What one test has claimed; `release` gives it all back."""

    def __init__(self) -> None:
        self._held: list[socket.socket] = []

    def port(self) -> int:
        """A port nobody listens on, on any address."""
        return self._first("port", random.sample(PORTS, 200), _free_port)

    def ports(self, count: int) -> tuple[int, int]:
        """First and last of as many free ports in a row."""
        starts = random.sample(range(PORTS.start, PORTS.stop - count), 200)
        first = self._first("ports", starts, lambda start: self._row(range(start, start + count)))
        return first, first + count - 1

    def subnet(self) -> str:
        """A /24 that no Docker network and no route of the host overlaps."""
        taken = _taken_networks()
        return self._first("subnet", random.sample(SUBNETS, len(SUBNETS)), lambda subnet: _free_subnet(subnet, taken))

    def wide_subnet(self) -> str:
        """A /23, of two neighbours: for more containers at once than a /24 has addresses."""
        taken = _taken_networks()
        evens = [subnet for subnet in SUBNETS if int(subnet.split(".")[2]) % 2 == 0]

        def both_free(subnet: str) -> bool:
            wide = subnet.replace(".0/24", ".0/23")
            return _free_subnet(wide, taken) and self._row_of_subnets(subnet)

        return self._first("subnet", random.sample(evens, len(evens)), both_free).replace("/24", "/23")

    def release(self) -> None:
        """Give everything back."""
        while self._held:
            self._held.pop().close()

    def _row(self, ports: range) -> bool:
        claimed = Claims()
        try:
            for port in ports:
                claimed._first("port", [port], _free_port)
        except RuntimeError:
            claimed.release()
            return False
        self._held += claimed._held
        return True

    def _row_of_subnets(self, subnet: str) -> bool:
        """The neighbour above, beside `subnet` itself."""
        first, second, third, rest = subnet.split(".")
        try:
            self._first("subnet", [f"{first}.{second}.{int(third) + 1}.{rest}"], lambda _: True)
        except RuntimeError:
            return False
        return True

    def _first(self, kind: str, candidates: Sequence[Wanted], is_free: Callable[[Wanted], bool]) -> Wanted:
        for candidate in candidates:
            name = socket.socket(socket.AF_UNIX)
            with contextlib.suppress(OSError):  # somebody else has the name
                name.bind(f"\0conductor-test/{kind}/{candidate}")
                if is_free(candidate):
                    self._held.append(name)
                    return candidate
            name.close()
        raise RuntimeError(f"cannot find a free {kind} among {len(candidates)}")


def _free_port(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
    return True


def _free_subnet(subnet: str, taken: list[ipaddress.IPv4Network]) -> bool:
    wanted = ipaddress.IPv4Network(subnet)
    return not any(wanted.overlaps(other) for other in taken)


def _taken_networks() -> list[ipaddress.IPv4Network]:
    """Routes of the host (the default route aside) and subnets of Docker's networks."""
    routes = subprocess.run(["ip", "-j", "-4", "route"], capture_output=True, text=True, check=True).stdout
    found = [route["dst"] for route in json.loads(routes) if route["dst"] != "default"]
    ids = subprocess.run(["docker", "network", "ls", "-q"], capture_output=True, text=True, check=True).stdout.split()
    inspected = subprocess.run(["docker", "network", "inspect", *ids], capture_output=True, text=True, check=False)
    for network in json.loads(inspected.stdout or "[]"):
        found += [pool["Subnet"] for pool in network["IPAM"]["Config"] or [] if ":" not in pool.get("Subnet", ":")]
    return [ipaddress.IPv4Network(text, strict=False) for text in found]
