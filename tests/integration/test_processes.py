"""What `/proc` shows of a real nginx: its workers and their sockets, before, during and after a reload."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from conductor.traffic import processes
from conductor.traffic.processes import TcpConnection, Worker
from tests.support.claims import Claims
from tests.support.load import EarlyBird
from tests.support.nginx import PrivateNginx

BACKEND = """
server {{ listen 127.0.0.1:{port}; listen unix:{socket}; location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}
"""


class Served:
    """nginx with two listeners of its own, and a backend that accepts and never answers."""

    def __init__(self, nginx: PrivateNginx, claims: Claims) -> None:
        self.nginx = nginx
        self.port = claims.port()
        self.backend = socket.create_server(("127.0.0.1", claims.port()))
        self.backend_address = f"127.0.0.1:{self.backend.getsockname()[1]}"
        path = nginx.directory / "a.sock"
        text = BACKEND.format(port=self.port, socket=path, backend=self.backend.getsockname()[1])
        nginx.add_server("backend", text)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def workers(self) -> frozenset[Worker]:
        return processes.workers(self.nginx.pid)


@pytest.fixture
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("nginx")
    for parent in (directory, *directory.parents[:2]):  # nginx's workers are another user
        parent.chmod(parent.stat().st_mode | 0o055)
    claims = Claims()
    nginx = PrivateNginx(directory, claims)
    made = Served(nginx, claims)
    with closing(made.backend), nginx:
        yield made
    claims.release()


def held_by(worker: Worker) -> tuple[TcpConnection, ...]:
    """Return the connections of one worker."""
    (found,) = processes.connections((worker,))
    return found


def wait_until(condition: Callable[[], Any], seconds: float = 5.0) -> bool:
    """Return whether the condition became true in time."""
    for _ in range(int(seconds * 100)):
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_serving_workers_listen_and_have_no_connections(served: Served) -> None:
    workers = served.workers()
    assert {w.pid for w in workers} == served.nginx.workers()
    assert len(workers) == 2
    for worker in workers:
        assert processes.alive(worker)
        assert not processes.alive(worker._replace(started=worker.started + 1)), "another process with this pid"
        assert not processes.alive(worker._replace(boot="another boot")), "a process of an earlier boot"
    assert wait_until(lambda: processes.connections(workers) == ((), ())), "the check that nginx is up has ended"
    listeners = processes.listeners(served.nginx.pid)
    assert all(processes.listens(worker, listeners) for worker in workers)
    assert not any(processes.listens(worker, frozenset()) for worker in workers)
    assert processes.listening_ports(served.nginx.pid) == {served.port, served.nginx.own_port}


def test_after_a_reload_a_worker_with_a_request_keeps_its_two_connections_and_exits_with_them(served: Served) -> None:
    before = served.workers()
    assert wait_until(lambda: processes.connections(before) == ((), ())), "the check that nginx is up has ended"
    with closing(EarlyBird(served.url)) as client:
        address = client._sock.getsockname()
        client._sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        upstream, nginx_side = served.backend.accept()
        (holder,) = [w for w in before if held_by(w)]
        theirs = TcpConnection(served.port, f"127.0.0.1:{address[1]}")
        ours = TcpConnection(nginx_side[1], served.backend_address)
        assert set(held_by(holder)) == {theirs, ours}

        listeners = processes.listeners(served.nginx.pid)
        served.nginx.reload()
        assert wait_until(lambda: len(served.workers() - before) == 2)
        assert wait_until(lambda: served.workers() & before == {holder})
        assert wait_until(lambda: not processes.listens(holder, listeners))
        assert set(held_by(holder)) == {theirs, ours}
        assert all(processes.listens(w, listeners) and not held_by(w) for w in served.workers() - before)
        (idle,) = before - {holder}
        assert not processes.alive(idle)
        assert not processes.listens(idle, listeners)
        assert processes.connections((idle, holder)) == ((), held_by(holder)), "one of them has exited"

        upstream.close()  # nginx answers 502, and the worker has no request left
    assert wait_until(lambda: not processes.alive(holder))
    assert len(served.workers()) == 2


@pytest.mark.parametrize("silent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["connected only", "half a head"])
def test_a_client_without_a_whole_request_keeps_its_worker_alive(served: Served, silent: bytes) -> None:
    """Its connection survives a reload, and it may still send a request: a drain waits for it."""
    before = served.workers()
    assert wait_until(lambda: processes.connections(before) == ((), ())), "the check that nginx is up has ended"
    with closing(EarlyBird(served.url)) as client:
        client._sock.sendall(silent)
        assert wait_until(lambda: any(processes.connections(before)))
        served.nginx.reload()
        assert wait_until(lambda: len(served.workers() & before) == 1)
        (holder,) = served.workers() & before
        assert [c.local_port for c in held_by(holder)] == [served.port]


def test_a_connection_that_is_being_opened_is_an_upstream_connection(served: Served) -> None:
    """Its state is SYN_SENT: the backend's queue is full, so the kernel does not answer. The request has left nginx."""
    served.backend.listen(0)
    with ExitStack() as stack:
        for _ in range(2):
            full = stack.enter_context(socket.socket())
            full.setblocking(False)
            full.connect_ex(served.backend.getsockname())
        client = stack.enter_context(closing(EarlyBird(served.url)))
        client._sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wait_until(lambda: served.backend_address in remotes(served))
        states = {line.split()[3] for line in rows(served.backend_address)}
        assert "02" in states


def remotes(served: Served) -> set[str]:
    """Return the other ends of all connections of the workers."""
    return {c.remote for held in processes.connections(served.workers()) for c in held}


def rows(remote: str) -> list[str]:
    """Return the kernel's rows with this other end."""
    number = f"0100007F:{int(remote.rpartition(':')[2]):04X}"
    return [line for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[2] == number]


def test_only_an_nginx_master_is_a_master(served: Served) -> None:
    """A pid file outlives its process, and another process may have the pid now."""
    master = served.nginx.pid
    assert processes.is_master(master)
    assert wait_until(lambda: not any(processes.is_master(worker.pid) for worker in served.workers()))
    other = subprocess.Popen([sys.executable, "-c", "input()", "nginx: master process"], stdin=subprocess.PIPE)
    with other:
        assert not processes.is_master(other.pid)
        assert not processes.is_master(os.getpid())
    assert not processes.is_master(other.pid), "it has exited"
    assert not processes.is_master(2**22 + 1), "no pid is as high"
    served.nginx.stop()
    assert not processes.is_master(master)
    assert processes.workers(master) == frozenset()
    assert processes.listening_ports(master) == frozenset()


def test_a_zombie_is_not_alive() -> None:
    """It keeps its pid and its start time until its parent reads its exit code."""
    child = subprocess.Popen(["sleep", "60"])
    stat = Path(f"/proc/{child.pid}/stat")
    worker = Worker(child.pid, int(stat.read_text().rpartition(")")[2].split()[19]), processes.boot_id())
    assert processes.alive(worker)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not processes.alive(worker)
    child.wait()
    assert not processes.alive(worker)
