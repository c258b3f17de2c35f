"""The kernel's tables of sockets: by its filter, and by the files in /proc where there is no filter."""

import os
import re
import socket
from collections.abc import Callable
from contextlib import closing
from importlib.resources import files
from pathlib import Path

import pytest

from conductor.traffic import sockets
from conductor.traffic.sockets import CLOSE_WAIT, ESTABLISHED, LISTEN, Tcp, tcp, unix_accepted, unix_listeners


def from_files(pid: int) -> list[Tcp]:
    return [
        row for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)) for row in sockets._read(pid, name, family)
    ]  # fmt: skip


def inode(one: socket.socket) -> int:
    return os.fstat(one.fileno()).st_ino


@pytest.mark.parametrize("read", [tcp, from_files], ids=["by the filter", "by the files"])
@pytest.mark.parametrize(("family", "ip"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_listening_and_open_sockets(read: Callable[[int], list[Tcp]], family: int, ip: str) -> None:
    with closing(socket.create_server((ip, 0), family=family)) as server:
        port = server.getsockname()[1]
        with closing(socket.create_connection((ip, port))) as client, closing(server.accept()[0]) as accepted:
            client_port = client.getsockname()[1]
            rows = {row.inode: row for row in read(os.getpid())}
            assert (rows[inode(server)].state, rows[inode(server)].local_port) == (LISTEN, port)
            assert rows[inode(client)] == Tcp(inode(client), ESTABLISHED, client_port, f"{ip}:{port}")
            assert rows[inode(accepted)] == Tcp(inode(accepted), ESTABLISHED, port, f"{ip}:{client_port}")
            client.shutdown(socket.SHUT_WR)
            assert accepted.recv(1) == b""
            rows = {row.inode: row for row in read(os.getpid())}
            assert rows[inode(accepted)].state == CLOSE_WAIT


def test_a_process_that_has_exited_has_no_sockets() -> None:
    assert tcp(2**22 + 1) == []
    assert (unix_listeners(2**22 + 1), unix_accepted(2**22 + 1)) == (frozenset(), frozenset())


def test_unix_sockets(tmp_path: Path) -> None:
    path = str(tmp_path / "a.sock")
    with closing(socket.socket(socket.AF_UNIX)) as server, closing(socket.socket(socket.AF_UNIX)) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
        with closing(server.accept()[0]) as accepted:
            assert inode(server) in unix_listeners(os.getpid())
            found = unix_accepted(os.getpid())
            assert (inode(accepted) in found, inode(client) in found, inode(server) in found) == (True, False, False)


def test_the_unit_of_supervise_allows_the_sockets_that_are_opened_here() -> None:
    unit = files("conductor").joinpath("templates/conductor-supervise.service").read_text()
    allowed = re.findall(r"^RestrictAddressFamilies=(.*)$", unit, re.MULTILINE)
    assert set(" ".join(allowed).split()) >= {"AF_NETLINK", "AF_UNIX", "AF_INET", "AF_INET6"}
