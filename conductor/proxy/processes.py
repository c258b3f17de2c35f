"""The door to `/proc`: nginx's workers, what they listen on, and whom they talk to.

Sockets are read in nginx's own network namespace (`/proc/PID/net`). States are the kernel's numbers (`tcp_states.h`).
"""

import os
import re
import socket
import struct
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from conductor.plan.values import Worker

_LISTEN = 0x0A
_UNIX_ACCEPTS = 0x10000  # __SO_ACCEPTCON in the flags of /proc/net/unix
# Local port, remote address and port, state, inode. States: ESTABLISHED, SYN_SENT, CLOSE_WAIT, LISTEN; rows of others, of
# which a busy host has tens of thousands in TIME_WAIT, do not match.
_ROW = re.compile(
    rb"^ *\d+: [0-9A-F]+:([0-9A-F]{4}) ([0-9A-F]+):([0-9A-F]{4}) (01|02|08|0A) (?:\S+ +){5}(\d+)", re.MULTILINE
)


class Connection(NamedTuple):
    """One open TCP connection: `remote` is `IP:PORT` of the other end."""

    local_port: int
    remote: str


def is_master(pid: int) -> bool:
    """Whether `pid` is an nginx master now; pid files outlive their process."""
    return _title(pid).startswith("nginx: master process")


def workers(master: int) -> frozenset[Worker]:
    """The living workers of a master, those that are shutting down included.

    By descent: one just forked still has its master's title. Whoever else may be there is gone soon after a reload.
    """
    found = []
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            stat = _stat(int(entry.name))
            if stat is not None and stat[0] == master and not _title(int(entry.name)).startswith("nginx: cache"):
                found.append(Worker(int(entry.name), stat[1]))
    return frozenset(found)


def alive(worker: Worker) -> bool:
    """Whether this very process still lives."""
    stat = _stat(worker.pid)
    return stat is not None and stat[1] == worker.started


def connections(workers: Collection[Worker]) -> tuple[tuple[Connection, ...], ...]:
    """The open TCP connections of each worker of one nginx, right now; none of one that is gone.

    One look at the kernel's table for all of them: with 40,000 connections in TIME_WAIT it takes 0.15 s.
    """
    held = [_inodes(worker.pid) for worker in workers]
    table = next((table for worker in workers if (table := list(_tcp(worker.pid)))), [])
    opened = [(inode, connection) for inode, state, connection in table if state != _LISTEN]
    return tuple(tuple(connection for inode, connection in opened if inode in mine) for mine in held)


def listeners(pid: int) -> frozenset[int]:
    """Every socket that anybody listens on in the network namespace of a process, TCP and unix, by inode."""
    return frozenset(inode for inode, state, _ in _tcp(pid) if state == _LISTEN) | _unix_listeners(pid)


def listens(worker: Worker, among: frozenset[int]) -> bool:
    """Whether a worker still holds one of the sockets `among`; cheap enough to be asked a hundred times a second."""
    return not among.isdisjoint(_inodes(worker.pid))


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
    """Inode, state and connection of each socket that listens or is open."""
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for port, remote, remote_port, state, inode in _ROW.findall(_table(pid, table)):
            where = f"{_ip(remote, family)}:{int(remote_port, 16)}"
            yield int(inode), int(state, 16), Connection(int(port, 16), where)


def _ip(little_endian_words: bytes, family: int) -> str:
    words = [int(little_endian_words[i : i + 8], 16) for i in range(0, len(little_endian_words), 8)]
    return socket.inet_ntop(family, struct.pack(f"<{len(words)}L", *words))


def _unix_listeners(pid: int) -> frozenset[int]:
    rows = (line.split() for line in _table(pid, "unix").splitlines()[1:])
    return frozenset(int(row[6]) for row in rows if int(row[3], 16) & _UNIX_ACCEPTS)


def _table(pid: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/net/{name}").read_bytes()
    except OSError:
        return b""
