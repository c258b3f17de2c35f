"""The door to `/proc`: nginx's workers, what they listen on, and whom they talk to.

Sockets are read in nginx's own network namespace (`/proc/PID/net`). States are the kernel's numbers (`tcp_states.h`).
"""

import os
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from conductor.plan.values import Worker

_ESTABLISHED, _SYN_SENT, _CLOSE_WAIT, _LISTEN = 0x01, 0x02, 0x08, 0x0A
_UNIX_ACCEPTS = 0x10000  # __SO_ACCEPTCON in the flags of /proc/net/unix


class Connection(NamedTuple):
    """One open TCP connection: `remote` is `IP:PORT` of the other end."""

    local_port: int
    remote: str


class Sockets(NamedTuple):
    """The sockets one process holds: open connections, and how many it listens on."""

    connections: tuple[Connection, ...]
    listening: int


def is_master(pid: int) -> bool:
    """Whether `pid` is an nginx master now; pid files outlive their process."""
    return _title(pid).startswith("nginx: master process")


def workers(master: int) -> frozenset[Worker]:
    """The living workers of a master, those that are shutting down included."""
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            stat = _stat(int(entry.name))
            if stat is not None and stat[0] == master and _title(int(entry.name)).startswith("nginx: worker"):
                found.append(Worker(int(entry.name), stat[1]))
    return frozenset(found)


def alive(worker: Worker) -> bool:
    """Whether this very process still lives."""
    stat = _stat(worker.pid)
    return stat is not None and stat[1] == worker.started


def sockets(worker: Worker) -> Sockets:
    """What a worker holds right now; nothing when it is gone."""
    held = _inodes(worker.pid)
    connections: list[Connection] = []
    listening = 0
    for inode, state, connection in _tcp(worker.pid):
        if inode in held and state == _LISTEN:
            listening += 1
        elif inode in held and state in (_ESTABLISHED, _SYN_SENT, _CLOSE_WAIT):
            connections.append(connection)
    return Sockets(tuple(connections), listening + len(_unix_listeners(worker.pid) & held))


def listening_ports(master: int) -> frozenset[int]:
    """The TCP ports nginx listens on: a connection to one of these is a client's."""
    held = _inodes(master)
    return frozenset(c.local_port for inode, state, c in _tcp(master) if state == _LISTEN and inode in held)


def _stat(pid: int) -> tuple[int, int] | None:
    """Parent and start time (clock ticks since boot); None for one that is gone or a zombie."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if after_name[0] in "ZX" else (int(after_name[1]), int(after_name[19]))


def _title(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _inodes(pid: int) -> frozenset[int]:
    found = []
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(entry.path)  # noqa: PTH115 (thousands of them: no object for each)
            except OSError:
                continue
            if target.startswith("socket:["):
                found.append(int(target[8:-1]))
    except OSError:
        return frozenset()
    return frozenset(found)


def _tcp(pid: int) -> Iterator[tuple[int, int, Connection]]:
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in _lines(pid, table):
            fields = line.split()
            local, remote = fields[1].rpartition(":"), fields[2].rpartition(":")
            where = f"{_ip(remote[0], family)}:{int(remote[2], 16)}"
            yield int(fields[9]), int(fields[3], 16), Connection(int(local[2], 16), where)


def _ip(little_endian_words: str, family: int) -> str:
    words = [int(little_endian_words[i : i + 8], 16) for i in range(0, len(little_endian_words), 8)]
    return socket.inet_ntop(family, struct.pack(f"<{len(words)}L", *words))


def _unix_listeners(pid: int) -> frozenset[int]:
    rows = (line.split() for line in _lines(pid, "unix"))
    return frozenset(int(row[6]) for row in rows if int(row[3], 16) & _UNIX_ACCEPTS)


def _lines(pid: int, table: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    except OSError:
        return []
