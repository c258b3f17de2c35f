"""The door to `/proc`: nginx's workers, what they listen on, and whom they talk to (in nginx's own network namespace)."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from conductor.plan.values import Worker
from conductor.traffic.reload.sockets import LISTEN, tcp, unix_accepted, unix_listeners


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
    for pid in _children(master):
        stat = _stat(pid)
        if stat is not None and stat[0] == master and not _title(pid).startswith("nginx: cache"):
            found.append(Worker(pid, stat[1]))
    return frozenset(found)


def alive(worker: Worker) -> bool:
    """Whether this very process still lives."""
    stat = _stat(worker.pid)
    return stat is not None and stat[1] == worker.started


def connections(workers: Collection[Worker]) -> tuple[tuple[Connection, ...], ...]:
    """The open TCP connections of each worker of one nginx, right now, in one look; none of one that is gone."""
    held = [_inodes(worker.pid) for worker in workers]
    table = next((found for worker in workers if (found := tcp(worker.pid))), [])
    opened = [(row.inode, Connection(row.local_port, row.remote)) for row in table if row.state != LISTEN]
    return tuple(tuple(connection for inode, connection in opened if inode in mine) for mine in held)


def has_unix_clients(worker: Worker) -> bool:
    """Whether a worker holds a connection that came in through a unix socket."""
    return not unix_accepted(worker.pid).isdisjoint(_inodes(worker.pid))


def listeners(pid: int) -> frozenset[int]:
    """Every socket that anybody listens on in the network namespace of a process, TCP and unix, by inode."""
    return frozenset(row.inode for row in tcp(pid) if row.state == LISTEN) | unix_listeners(pid)


def listens(worker: Worker, among: frozenset[int]) -> bool:
    """Whether a worker still holds one of the sockets `among`; cheap enough to be asked a hundred times a second."""
    return not among.isdisjoint(_inodes(worker.pid))


def listening_ports(master: int) -> frozenset[int]:
    """The TCP ports nginx listens on: a connection to one of these is a client's."""
    held = _inodes(master)
    return frozenset(row.local_port for row in tcp(master) if row.state == LISTEN and row.inode in held)


def _children(pid: int) -> list[int]:
    """By the kernel's list, whatever else the host runs. It may leave one out while another exits, which is then missing
    the next time: so until it says twice the same. A kernel without such lists is asked for every process.
    """
    path, before = Path(f"/proc/{pid}/task/{pid}/children"), None
    try:
        while (found := path.read_text()) != before:
            before = found
    except OSError:
        return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]
    return [int(child) for child in found.split()]


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
