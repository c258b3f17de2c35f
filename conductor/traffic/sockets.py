"""The kernel's tables of sockets, as the network namespace of a process shows them.

TCP sockets come from `sock_diag(7)`, filtered by the kernel. On a host with tens of thousands of connections in TIME_WAIT,
reading `/proc/net/tcp` takes 0.1 s when idle and more than a second under load; the filter takes 0.02 to 0.06 s (measured).
The table is read where the filter is not available: in another namespace, or on a kernel without it.
"""

import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from conductor.errors import ConductorError

ESTABLISHED, SYN_SENT, CLOSE_WAIT, LISTEN = 0x01, 0x02, 0x08, 0x0A  # tcp_states.h
EXITED = (FileNotFoundError, ProcessLookupError)  # raised by a read in /proc when the process has exited
_UNIX_ACCEPTS = 0x10000  # __SO_ACCEPTCON in the flags of /proc/net/unix

_SOCK_DIAG, _BY_FAMILY, _REQUEST_AND_DUMP, _DONE, _ERROR = 4, 20, 0x301, 3, 2  # linux/{netlink,sock_diag}.h
_HEAD = struct.Struct("=LHHLL")  # nlmsghdr
_REQUEST = struct.Struct("=BBBxL48x")  # inet_diag_req_v2, any address
_ANSWER = struct.Struct("=BBxx2s2s16s16s12x16xL")  # inet_diag_msg: family, state, ports and addresses, inode

# Local port, remote address and port, state, inode; rows in other states do not match.
_ROW = re.compile(
    rb"^ *\d+: [0-9A-F]+:([0-9A-F]{4}) ([0-9A-F]+):([0-9A-F]{4}) (01|02|08|0A) (?:\S+ +){5}(\d+)", re.MULTILINE
)


class Tcp(NamedTuple):
    """A listening or open socket. `remote` is `IP:PORT` of the other end."""

    inode: int
    state: int
    local_port: int
    remote: str


def tcp(pid: int) -> list[Tcp]:
    """Return every socket in one of the four states above; none when the process has exited."""
    try:
        same = Path(f"/proc/{pid}/ns/net").stat().st_ino == Path("/proc/self/ns/net").stat().st_ino
        if same:
            return [row for family in (socket.AF_INET, socket.AF_INET6) for row in _filtered(family)]
    except OSError:
        pass  # read the table instead
    return [
        row for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)) for row in _read(pid, name, family)
    ]


def unix_listeners(pid: int) -> frozenset[int]:
    """Return the inodes of listening unix sockets."""
    rows = (line.split() for line in _table(pid, "unix").splitlines()[1:])
    return frozenset(int(row[6]) for row in rows if int(row[3], 16) & _UNIX_ACCEPTS)


def unix_accepted(pid: int) -> frozenset[int]:
    """Return the inodes of connected unix sockets with a path: the accepting ends."""
    rows = (line.split() for line in _table(pid, "unix").splitlines()[1:])
    return frozenset(int(row[6]) for row in rows if len(row) > 7 and row[5] == b"03")


def _filtered(family: int) -> Iterator[Tcp]:
    states = sum(1 << state for state in (ESTABLISHED, SYN_SENT, CLOSE_WAIT, LISTEN))
    request = _REQUEST.pack(family, socket.IPPROTO_TCP, 0, states)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _SOCK_DIAG) as kernel:
        kernel.settimeout(5)
        kernel.sendall(_HEAD.pack(_HEAD.size + len(request), _BY_FAMILY, _REQUEST_AND_DUMP, 0, 0) + request)
        while data := kernel.recv(1 << 17):
            while data:
                length, kind, *_ = _HEAD.unpack_from(data)
                if kind == _DONE:
                    return
                if kind == _ERROR:
                    raise OSError(-struct.unpack_from("=l", data, _HEAD.size)[0], "sock_diag")
                yield _tcp(data)
                data = data[(length + 3) & ~3 :]


def _tcp(message: bytes) -> Tcp:
    family, state, local, port, _, remote, inode = _ANSWER.unpack_from(message, _HEAD.size)
    ip = socket.inet_ntop(family, remote[: 4 if family == socket.AF_INET else 16])
    return Tcp(inode, state, int.from_bytes(local), f"{ip}:{int.from_bytes(port)}")


def _read(pid: int, name: str, family: int) -> Iterator[Tcp]:
    for local, remote, port, state, inode in _ROW.findall(_table(pid, name)):
        words = [int(remote[i : i + 8], 16) for i in range(0, len(remote), 8)]  # each as a little-endian number
        ip = socket.inet_ntop(family, struct.pack(f"<{len(words)}L", *words))
        yield Tcp(int(inode), int(state, 16), int(local, 16), f"{ip}:{int(port, 16)}")


def _table(pid: int, name: str) -> bytes:
    return read_proc(f"/proc/{pid}/net/{name}") or b""


def read_proc(path: str) -> bytes | None:
    """Return the contents of a file about a process; None when the process has exited."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (thousands of them: no object for each)
            return file.read()
    except EXITED:
        return None
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: str, error: OSError) -> ConductorError:
    """Return the error of a failed read. The process may exist: perhaps this process has too many open files."""
    return ConductorError(f"cannot read {path}: {error.strerror}")
