"""The host kernel's routes, its range of ports for outgoing connections, and a container's listening sockets and cgroup."""

import contextlib
import ipaddress
import os
import re
import socket
import struct
from collections.abc import Collection, Iterator
from pathlib import Path

from conductor.plan.listening import Listener, parse
from conductor.plan.replica import ContainerUsage

ROUTES = Path("/proc/net/route")
PROC = Path("/proc")
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
CGROUPS = Path("/sys/fs/cgroup")
# Where Docker and Podman create the cgroup of a container: with the cgroup driver "systemd", and with "cgroupfs".
CGROUP_NAMES = ("system.slice/docker-{}.scope", "docker/{}", "machine.slice/libpod-{}.scope", "libpod_parent/libpod-{}")
NO_LIMIT = 2**62  # a larger limit of cgroup v1 is none


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


def listeners(pid: int, ips: Collection[str], proc: Path = PROC) -> tuple[Listener, ...] | None:
    """Return the listening TCP sockets in the network namespace of a process; None when it cannot be read.

    `ips` are the addresses of that namespace: a daemon in another pid namespace names a pid of something else.
    """
    tables = proc / str(pid) / "net"
    try:
        if not set(ips).intersection((tables / "fib_trie").read_text().split()):
            return None
        tcp6 = tables / "tcp6"  # absent on a kernel without IPv6
        return parse((tables / "tcp").read_text() + (tcp6.read_text() if tcp6.exists() else ""))
    except OSError:
        return None


def usage(container: str, now: float, cgroups: Path = CGROUPS, proc: Path = PROC) -> ContainerUsage | None:
    """Return the usage of a running container from its cgroup, v2 or v1. `now` is the time in seconds since 1970.

    This reads a few small files and makes no call to the daemon; `docker stats` shows the same memory, but is one call for
    each container. None without such a cgroup: the container has ended, has another cgroup parent, or runs on another host.
    """
    for name in CGROUP_NAMES:
        with contextlib.suppress(OSError, ValueError):
            cgroup = f"{cgroups}/{name.format(container)}"
            limit, used = _read(f"{cgroup}/memory.max").strip(), int(_read(f"{cgroup}/memory.current"))
            used -= _inactive_cache(cgroup, "inactive_file")
            return _usage(cgroup, used, None if limit == "max" else int(limit), now, proc)
        with contextlib.suppress(OSError, ValueError):
            cgroup = f"{cgroups}/memory/{name.format(container)}"
            most, used = int(_read(f"{cgroup}/memory.limit_in_bytes")), int(_read(f"{cgroup}/memory.usage_in_bytes"))
            used -= _inactive_cache(cgroup, "total_inactive_file")
            return _usage(cgroup, used, None if most > NO_LIMIT else most, now, proc)
    return None


def _usage(cgroup: str, used: int, limit: int | None, now: float, proc: Path) -> ContainerUsage:
    started = None
    with contextlib.suppress(OSError):
        uptime = float(_read(f"{proc}/uptime").split()[0])
        ticks = min(_start_ticks(cgroup, proc), default=None)
        started = None if ticks is None else now - uptime + ticks / os.sysconf("SC_CLK_TCK")
    return ContainerUsage(memory=max(0, used), memory_limit=limit, started=started)


def _inactive_cache(cgroup: str, name: str) -> int:
    """Return the bytes of page cache that the kernel would free first. Raise `ValueError` when they are not listed."""
    found = re.search(rf"^{name} (\d+)$", _read(f"{cgroup}/memory.stat"), re.MULTILINE)
    return int(found[1] if found else "")


def _start_ticks(cgroup: str, proc: Path) -> Iterator[int]:
    """Yield when each process of a container started, in clock ticks since the boot.

    The oldest one is the container's first process: when it ends, the container ends.
    """
    pids = _read(f"{cgroup}/cgroup.procs")
    if not pids:  # Podman's crun puts the processes into a cgroup of its own below the one of systemd
        pids = _read(f"{cgroup}/container/cgroup.procs")
    for pid in pids.split():
        with contextlib.suppress(OSError, IndexError):  # it has ended meanwhile
            yield int(_read(f"{proc}/{pid}/stat").rpartition(")")[2].split()[19])


def _read(path: str) -> str:
    """Return the text of a small file of the kernel: hundreds of them are read for one `service status`."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(handle, 65536).decode(errors="replace")
    finally:
        os.close(handle)


def _dotted(little_endian_hex: str) -> str:
    return socket.inet_ntoa(struct.pack("<L", int(little_endian_hex, 16)))
