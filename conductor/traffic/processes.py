"""nginx's processes, read from `/proc`: its workers, what they listen on, and their connections in nginx's own network
namespace.

A process that cannot be read is an error: otherwise a running worker would count as exited, and lose its endpoints.
"""

import functools
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from conductor.traffic.sockets import EXITED, LISTEN, read_proc, tcp, unix_accepted, unix_listeners, unreadable

SIGHUP_BIT = 1  # of the signal masks in /proc/PID/status: bit 0 is signal 1
_OPTION = re.compile(r" -([cpeg]) ?(.+?)(?= -[cpeg]|$)", re.DOTALL)


class Worker(NamedTuple):
    """An nginx worker process: its pid, start time in clock ticks since boot, and the boot id. Together never reused."""

    pid: int
    started: int
    boot: str


class TcpConnection(NamedTuple):
    """An open TCP connection. `remote` is `IP:PORT` of the other end."""

    local_port: int
    remote: str


def is_master(pid: int) -> bool:
    """True when `pid` is an nginx master now. A pid file can outlive its process."""
    return _title(pid).startswith("nginx: master process")


def is_master_here(pid: int) -> bool:
    """True when `pid` is a running master outside of containers: an old pid file may name one in a container."""
    return is_master(pid) and _same_namespace(pid)


def parent(pid: int) -> int | None:
    """Return the parent of a process; None when it has exited."""
    stat = _stat(pid)
    return stat[0] if stat else None


def masters() -> dict[int, dict[str, str]]:
    """Return the nginx masters in this process's own pid namespace, each with its options, such as `-c` and `-g`."""
    return {pid: options(pid) for pid in _all() if is_master_here(pid)}


def options(master: int) -> dict[str, str]:
    """Return the options that a master was started with: `-c`, `-p`, `-e`, `-g`. Its title has them joined by spaces."""
    return dict(_OPTION.findall(_title(master).rstrip()))


def _same_namespace(pid: int) -> bool:
    """False for an nginx in a container, even if this process has no permission to inspect that nginx."""
    path = f"/proc/{pid}/ns/pid"
    try:
        return Path(path).stat().st_ino == Path("/proc/self/ns/pid").stat().st_ino
    except (*EXITED, PermissionError):
        return False
    except OSError as error:
        raise unreadable(path, error) from error


def workers(master: int) -> frozenset[Worker]:
    """Return the living workers of a master, including those that are shutting down.

    They are its child processes: a worker just forked still has its master's title. Other children are short-lived.
    """
    found = []
    for pid in _children(master):
        stat = _stat(pid)
        if stat is not None and stat[0] == master and not _title(pid).startswith("nginx: cache"):
            found.append(Worker(pid, stat[1], boot_id()))
    return frozenset(found)


def worker(pid: int) -> Worker | None:
    """Return the nginx worker with this pid; None when there is none."""
    stat = _stat(pid)
    return Worker(pid, stat[1], boot_id()) if stat is not None and _title(pid).startswith("nginx: worker") else None


def reloads_later(master: int) -> bool:
    """True while a signal to reload waits for the master, which blocks it except between two tasks."""
    found = re.findall(rb"^S(?:ig|hd)Pnd:\s*([0-9a-f]+)$", read_proc(f"/proc/{master}/status") or b"", re.MULTILINE)
    return any(int(mask, 16) & SIGHUP_BIT for mask in found)


def alive(worker: Worker) -> bool:
    """True while this process exists. A worker of an earlier boot does not."""
    stat = _stat(worker.pid)
    return stat is not None and (stat[1], boot_id()) == (worker.started, worker.boot)


def started_at(worker: Worker, now: float) -> float:
    """Return when a worker started, in seconds since 1970 like `now`."""
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return now - uptime + worker.started / os.sysconf("SC_CLK_TCK")


@functools.cache
def boot_id() -> str:
    """Return the kernel's id of this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def connections(workers: Collection[Worker]) -> tuple[tuple[TcpConnection, ...], ...]:
    """Return the open TCP connections of each worker of one nginx, from one read; none for a worker that has exited."""
    held = [_inodes(worker.pid) for worker in workers]
    table = next((found for worker in workers if (found := tcp(worker.pid))), [])
    opened = [(row.inode, TcpConnection(row.local_port, row.remote)) for row in table if row.state != LISTEN]
    return tuple(tuple(connection for inode, connection in opened if inode in mine) for mine in held)


def has_unix_clients(worker: Worker) -> bool:
    """True when a worker has a client that connected through a unix socket."""
    return not unix_accepted(worker.pid).isdisjoint(_inodes(worker.pid))


def listeners(pid: int) -> frozenset[int]:
    """Return the inodes of all listening sockets, TCP and unix, in the network namespace of a process."""
    return frozenset(row.inode for row in tcp(pid) if row.state == LISTEN) | unix_listeners(pid)


def listens(worker: Worker, among: frozenset[int]) -> bool:
    """True while a worker has one of the sockets `among` open. Cheap enough for a hundred calls per second."""
    return not among.isdisjoint(_inodes(worker.pid))


def listening_ports(master: int) -> frozenset[int]:
    """Return the TCP ports that nginx listens on: a connection to one of these is a client's."""
    held = _inodes(master)
    return frozenset(row.local_port for row in tcp(master) if row.state == LISTEN and row.inode in held)


def _children(pid: int) -> list[int]:
    """Return the child processes of `pid`, by the kernel's list.

    The kernel may leave one out while another exits, so the list is read until it is the same twice. A kernel without
    these lists is searched process by process.
    """
    before: bytes | None = None
    while (found := read_proc(f"/proc/{pid}/task/{pid}/children")) is not None:
        if found == before:
            return [int(child) for child in found.split()]
        before = found
    return _all()


def _all() -> list[int]:
    try:
        return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()]
    except OSError as error:
        raise unreadable("/proc", error) from error


def _stat(pid: int) -> tuple[int, int] | None:
    """Return parent and start time (clock ticks since boot); None for a process that has exited or is a zombie."""
    found = read_proc(f"/proc/{pid}/stat")
    after_name = found.rpartition(b")")[2].split() if found else [b"X"]
    return None if after_name[0] in {b"Z", b"X"} else (int(after_name[1]), int(after_name[19]))


def _title(pid: int) -> str:
    return (read_proc(f"/proc/{pid}/cmdline") or b"").replace(b"\0", b" ").decode(errors="replace")


def _inodes(pid: int) -> frozenset[int]:
    found = []
    try:
        for entry in os.scandir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(entry.path)  # noqa: PTH115 (thousands of them: no object for each)
            except OSError:  # closed in between
                continue
            if target.startswith("socket:["):
                found.append(int(target[8:-1]))
    except EXITED:
        return frozenset()
    except OSError as error:
        raise unreadable(f"/proc/{pid}/fd", error) from error
    return frozenset(found)
