"""The fixture app answers, and misbehaves, as its environment says."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.http_answer import Answer, read_answer
from tests.support.images import APP_FILE


class App:
    """The app as a process on a port of its own."""

    def __init__(self, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        settings = {"PORT": str(self.port), "BOOT": "0", "REVISION": "r3", "SERVICE": "web", **environment}
        words = [sys.executable, "-I", "-S", "-B", str(APP_FILE)]
        self.process = subprocess.Popen(words, env={**os.environ, **settings}, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        self.first_line = self.process.stderr.readline().decode()

    def connect(self, timeout: float = 10) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout)

    def ask(self, request: bytes, timeout: float = 10) -> Answer:
        with self.connect(timeout) as sock:
            sock.sendall(request)
            return read(sock)

    def get(self, path: str, timeout: float = 10) -> Answer:
        return self.ask(request_for(path), timeout)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


def request_for(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


def read(sock: socket.socket) -> Answer:
    buffer = b""
    while (answer := read_answer(buffer)) is None:
        buffer += sock.recv(65536)
    return answer


def begin(sock: socket.socket, path: str) -> None:
    """Send a request, and return once the app has read it: it is in one piece with a first one, which is answered."""
    sock.sendall(request_for("/") + request_for(path))
    read(sock)


@pytest.fixture
def start() -> Iterator[Callable[..., App]]:
    with contextlib.ExitStack() as stack:

        def starting(**environment: str) -> App:
            app = App(**environment)
            stack.callback(app.close)
            return app

        yield starting


def test_it_says_who_answers(start: Callable[..., App]) -> None:
    app = start(SECRET="hidden")
    answer = app.get("/any")
    assert (answer.status, answer.revision) == (200, "r3")
    assert b'"service": "web"' in answer.body
    names = app.get("/env").body
    assert b"SECRET" in names
    assert b"hidden" not in names
    assert app.get("/health").status == 200
    assert app.get("/status?code=418").status == 418
    assert app.get("/close").closes


@pytest.mark.parametrize(
    "request_text",
    [
        b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
        b"POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
)
def test_bodies_are_read_whole(start: Callable[..., App], request_text: bytes) -> None:
    assert b'"received": 5' in start().ask(request_text).body


def test_upgraded_connections_echo(start: Callable[..., App]) -> None:
    with start().connect() as sock:
        sock.sendall(b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        assert sock.recv(65536).startswith(b"HTTP/1.1 101")
        sock.sendall(b"ping")
        assert sock.recv(4) == b"ping"


def test_it_is_rude(start: Callable[..., App]) -> None:
    app = start()
    with app.connect() as sock:
        begin(sock, "/slow?s=60")
        app.process.terminate()
        assert app.process.wait(20) == 0
        assert sock.recv(10) == b""


def test_it_can_be_polite(start: Callable[..., App]) -> None:
    app = start(POLITE="1")
    with app.connect() as sock:
        begin(sock, "/slow?s=1")
        app.process.terminate()
        assert read(sock).closes
    assert app.process.wait(20) == 0


@pytest.mark.parametrize(("fault", "status"), [("500", 500), ("redirect", 302)])
@pytest.mark.parametrize("name", ["FAULT", "FAULT_r3"])
def test_a_sick_health_check(start: Callable[..., App], name: str, fault: str, status: int) -> None:
    app = start(**{name: fault})
    assert app.get("/health").status == status
    assert app.get("/").status == 200


def test_a_fault_of_another_revision_does_not_matter(start: Callable[..., App]) -> None:
    assert start(FAULT_r4="500").get("/health").status == 200


@pytest.mark.parametrize(("fault", "path"), [("hang", "/health"), ("silent", "/")])
def test_no_answer(start: Callable[..., App], fault: str, path: str) -> None:
    with pytest.raises(TimeoutError):
        start(FAULT=fault).get(path, timeout=0.5)


def test_it_never_listens(start: Callable[..., App]) -> None:
    with pytest.raises(ConnectionRefusedError):
        start(FAULT="never").connect()


@pytest.mark.parametrize(("fault", "code"), [("exit", 3), ("no-such-fault", 64)])
def test_it_exits_at_once_and_says_why(start: Callable[..., App], fault: str, code: int) -> None:
    app = start(FAULT=fault)
    assert app.process.wait(20) == code
    assert "web r3: " in app.first_line


def test_it_ignores_term(start: Callable[..., App]) -> None:
    app = start(FAULT="ignore-term")
    app.process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    assert app.get("/health").status == 200
