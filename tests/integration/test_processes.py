"""The workers of a real nginx and their sockets, as read from `/proc` before, during and after a reload."""

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

from conductor.traffic.reload import processes
from conductor.traffic.reload.processes import Connection, Worker
from tests.support.claims import Claims
from tests.support.load import EarlyBird
from tests.support.nginx import PrivateNginx

BACKEND = """
server {{ listen 127.0.0.1:{port}; listen unix:{socket}; location / {{ proxy_pass http://127.0.0.1:{backend}; }} }}
"""


class Traffic:
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
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traffic]:
    directory = tmp_path_factory.mktemp("nginx")
    for parent in (directory, *directory.parents[:2]):
        parent.chmod(0o755)
    claims = Claims()
    nginx = PrivateNginx(directory, claims)
    made = Traffic(nginx, claims)
    with closing(made.backend), nginx:
        yield made
    claims.release()


def held_by(worker: Worker) -> tuple[Connection, ...]:
    """The connections of one worker."""
    (found,) = processes.connections((worker,))
    return found


def wait_until(condition: Callable[[], Any], seconds: float = 5.0) -> bool:
    """Whether it came true in time."""
    for _ in range(int(seconds * 100)):
        if condition():
            return True
        time.sleep(0.01)
    return False


def test_workers_that_serve(traffic: Traffic) -> None:
    """Both of them, by pid and start time, each on the three addresses of the configuration and talking to nobody."""
    workers = traffic.workers()
    assert {w.pid for w in workers} == traffic.nginx.workers()
    assert len(workers) == 2
    for worker in workers:
        assert processes.alive(worker)
        assert not processes.alive(worker._replace(started=worker.started + 1)), "another process with this pid"
        assert not processes.alive(worker._replace(boot="another")), "a process of an earlier boot"
    assert wait_until(lambda: processes.connections(workers) == ((), ())), (
        "but for the one that asked whether nginx is up"
    )
    listeners = processes.listeners(traffic.nginx.pid)
    assert all(processes.listens(worker, listeners) for worker in workers)
    assert not any(processes.listens(worker, frozenset()) for worker in workers)
    assert processes.listening_ports(traffic.nginx.pid) == {traffic.port, traffic.nginx.own_port}


def test_a_client_and_its_upstream_during_and_after_a_reload(traffic: Traffic) -> None:
    """The worker that holds a request stops listening, keeps its two connections, and goes when they do."""
    before = traffic.workers()
    with closing(EarlyBird(traffic.url)) as client:
        address = client._sock.getsockname()
        client._sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        upstream, nginx_side = traffic.backend.accept()
        (holder,) = [w for w in before if held_by(w)]
        theirs = Connection(traffic.port, f"127.0.0.1:{address[1]}")
        ours = Connection(nginx_side[1], traffic.backend_address)
        assert set(held_by(holder)) == {theirs, ours}

        listeners = processes.listeners(traffic.nginx.pid)
        traffic.nginx.reload()
        assert wait_until(lambda: len(traffic.workers() - before) == 2)
        assert wait_until(lambda: traffic.workers() & before == {holder})
        assert wait_until(lambda: not processes.listens(holder, listeners))
        assert set(held_by(holder)) == {theirs, ours}
        assert all(processes.listens(w, listeners) and not held_by(w) for w in traffic.workers() - before)
        (idle,) = before - {holder}
        assert not processes.alive(idle)
        assert not processes.listens(idle, listeners)
        assert processes.connections((idle, holder)) == ((), held_by(holder)), "the table is read although one is gone"

        upstream.close()  # nginx answers 502 and the worker has nothing left
    assert wait_until(lambda: not processes.alive(holder))
    assert len(traffic.workers()) == 2


@pytest.mark.parametrize("silent", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n"], ids=["connected only", "half a head"])
def test_a_client_without_a_whole_request_is_seen_too(traffic: Traffic, silent: bytes) -> None:
    """It survives a reload and may still send: exactly what a drain must not forget."""
    before = traffic.workers()
    with closing(EarlyBird(traffic.url)) as client:
        client._sock.sendall(silent)
        assert wait_until(lambda: any(processes.connections(before)))
        traffic.nginx.reload()
        assert wait_until(lambda: len(traffic.workers() & before) == 1)
        (holder,) = traffic.workers() & before
        assert [c.local_port for c in held_by(holder)] == [traffic.port]


def test_a_backend_that_does_not_answer_the_handshake_is_an_upstream_connection(traffic: Traffic) -> None:
    """SYN_SENT: the request is on its way to a container already. The backend's queue is full, so its kernel is silent."""
    traffic.backend.listen(0)
    with ExitStack() as stack:
        for _ in range(2):
            full = stack.enter_context(socket.socket())
            full.setblocking(False)
            full.connect_ex(traffic.backend.getsockname())
        client = stack.enter_context(closing(EarlyBird(traffic.url)))
        client._sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert wait_until(lambda: traffic.backend_address in remotes(traffic))
        states = {line.split()[3] for line in rows(traffic.backend_address)}
        assert "02" in states


def remotes(traffic: Traffic) -> set[str]:
    """The other ends of all connections that workers hold."""
    return {c.remote for held in processes.connections(traffic.workers()) for c in held}


def rows(remote: str) -> list[str]:
    """The kernel's rows with this other end."""
    number = f"0100007F:{int(remote.rpartition(':')[2]):04X}"
    return [line for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[2] == number]


def test_only_an_nginx_master_is_a_master(traffic: Traffic) -> None:
    """Pid files outlive their process: whatever has the number now is looked at."""
    master = traffic.nginx.pid
    assert processes.is_master(master)
    assert wait_until(lambda: not any(processes.is_master(worker.pid) for worker in traffic.workers()))
    other = subprocess.Popen([sys.executable, "-c", "input()", "nginx: master process"], stdin=subprocess.PIPE)
    with other:
        assert not processes.is_master(other.pid)
        assert not processes.is_master(os.getpid())
    assert not processes.is_master(other.pid), "gone"
    assert not processes.is_master(2**22 + 1), "never there"
    traffic.nginx.stop()
    assert not processes.is_master(master)
    assert processes.workers(master) == frozenset()
    assert processes.listening_ports(master) == frozenset()


def test_a_zombie_is_not_alive() -> None:
    """A zombie keeps its pid and its start time."""
    child = subprocess.Popen(["sleep", "60"])
    stat = Path(f"/proc/{child.pid}/stat")
    worker = Worker(child.pid, int(stat.read_text().rpartition(")")[2].split()[19]), processes.boot_id())
    assert processes.alive(worker)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not processes.alive(worker)
    child.wait()
    assert not processes.alive(worker)
