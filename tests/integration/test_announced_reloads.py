"""Every reload of nginx is announced until no worker from before it listens: the clients' kept connections end cleanly."""

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from conductor.definitions.scalars import Seconds
from conductor.errors import ConductorError
from conductor.plan.route import Cutover
from conductor.traffic import processes
from tests.fakes.traffic_contract import Case
from tests.support.nginx_host import NginxHost
from tests.support.odd_clients import EarlyBird

CLIENTS = 10
THINK_SECONDS = 0.02
ANNOUNCE_SECONDS = 1.0  # enough for each client, also on a slow machine


def wait_for(condition: Callable[[], object], what: str, seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, f"waited {seconds} s for {what}"
        time.sleep(0.005)


@contextlib.contextmanager
def clients_cut(port: int) -> Iterator[list[str]]:
    """Send requests on kept connections all the time; the list gets a line for each that was closed without notice."""
    cut: list[str] = []
    ended = threading.Event()

    def client() -> None:
        while not ended.is_set():
            with contextlib.closing(EarlyBird(f"http://127.0.0.1:{port}/")) as connection:
                answered = 0
                try:
                    while not ended.wait(THINK_SECONDS) and not connection.send("GET", b"").closes:
                        answered += 1
                except OSError as error:
                    cut.append(f"after {answered} answers: {error}")

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield cut
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@pytest.fixture
def on_nginx(on_nginx: NginxHost) -> NginxHost:
    nginx = msgspec.structs.replace(on_nginx.host.nginx, announce=Seconds(ANNOUNCE_SECONDS))
    on_nginx.host = msgspec.structs.replace(on_nginx.host, nginx=nginx)
    return on_nginx


@pytest.fixture
def flag(on_nginx: NginxHost) -> Path:
    return Path(on_nginx.host.runtime_dir, "nginx", "announce")


@contextlib.contextmanager
def in_another_process(action: Callable[[], None]) -> Iterator[int]:
    """Run `action` in a fork, which is killed at the end; yield its pid."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            action()
        os._exit(0)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("recovery", ["undo", "load", "switch", "install"])
def test_a_reload_of_a_killed_process_stays_announced(
    case: Case, on_nginx: NginxHost, flag: Path, recovery: str
) -> None:
    """The process is killed after it has signalled nginx, which has not reloaded yet when the recovery begins."""
    one, two, *_ = case.endpoints
    web, master = case.route("web"), on_nginx.nginx.pid
    records = case.switch(web, case.route("api", one))
    recoveries: dict[str, Callable[[], object]] = {
        "undo": lambda: on_nginx.traffic().undo(records[0], {"api"}, lambda _: None),
        "load": lambda: on_nginx.traffic().load(),
        "switch": lambda: on_nginx.traffic().switch([case.route("api", two)], lambda _: None),
        "install": lambda: on_nginx.traffic().install([web, case.route("api", two)], {"web", "api"}),
    }
    with clients_cut(case.ports["web"]) as cut:
        recovering = threading.Thread(target=recoveries[recovery])
        with stopped(master):
            with in_another_process(lambda: case.traffic.switch([case.route("api", two)], lambda _: None)):
                wait_for(lambda: processes.reloads_later(master), "the signal")
            assert flag.exists()
            inode = flag.stat().st_ino
            recovering.start()
            wait_for(lambda: not flag.exists() or flag.stat().st_ino != inode, "the next announce")
            assert flag.exists(), "the announce of the reload that nginx has not done yet is over"
        recovering.join()
        assert not flag.exists()
        time.sleep(0.3)
    assert cut == []


def test_the_reload_of_another_program_does_not_end_the_announce(case: Case, on_nginx: NginxHost, flag: Path) -> None:
    """nginx reads its configuration for a program that reloads it at the same moment, so that it reads the new files twice."""
    one, two, *_ = case.endpoints
    case.switch(case.route("web"), case.route("api", one))
    gate = on_nginx.nginx.modules_dir / "0.conf"  # nginx reads it before all others, and waits for a writer

    def begin_other_reload(_cutover: Cutover) -> None:
        if not gate.exists():
            os.mkfifo(gate)
            on_nginx.nginx.reload()
            wait_for(lambda: not processes.reloads_later(on_nginx.nginx.pid), "the other program's reload to begin")

    switch = threading.Thread(target=case.traffic.switch, args=([case.route("api", two)], begin_other_reload))
    switch.start()
    wait_for(lambda: flag.exists() and processes.reloads_later(on_nginx.nginx.pid), "Conductor's own signal")
    before = processes.workers(on_nginx.nginx.pid)
    gate.open("w").close()
    wait_for(lambda: processes.workers(on_nginx.nginx.pid).isdisjoint(before), "the other program's reload")
    wait_for(lambda: not processes.reloads_later(on_nginx.nginx.pid), "Conductor's own reload to begin")
    time.sleep(0.2)
    still_announced = flag.exists()
    gate.open("w").close()
    switch.join()
    gate.unlink()
    assert still_announced


def test_an_install_that_cannot_be_verified_announces_the_reload_back(case: Case, on_nginx: NginxHost) -> None:
    """Another program uses the port of `api`."""
    case.switch(case.route("web"))
    routes = [case.route("web"), case.route("api", case.endpoints[0])]
    with clients_cut(case.ports["web"]) as cut:
        with socket.create_server(("127.0.0.1", case.ports["api"])), pytest.raises(ConductorError):
            case.traffic.install(routes, {"web", "api"})
        time.sleep(0.5)
    assert cut == []
    assert case.traffic.serves([case.route("web")])
