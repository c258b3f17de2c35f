"""Small HTTP servers, each rude in one way, and a load on them."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.load_clients import Clients, Request, Settings
from tests.support.load_tally import LoadResult

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Revision: r1\r\n\r\nok"
OK_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Revision: r1\r\nConnection: close\r\n\r\nok"
ASK = Request(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")

Serve = Callable[[socket.socket, int], None]


def reset(sock: socket.socket) -> None:
    """Close with a reset instead of an end."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def request(sock: socket.socket) -> bool:
    """Read one request of `ASK`'s size; False at the end of the connection."""
    taken = b""
    while len(taken) < len(ASK.content):
        data = sock.recv(len(ASK.content) - len(taken))
        if not data:
            return False
        taken += data
    return True


class Server:
    """Calls `serve(connection, number)` for each connection, in a thread each."""

    def __init__(self, serve: Serve) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self.listener.getsockname()[1]
        self.connections: list[socket.socket] = []
        self.threads: list[threading.Thread] = []
        self._serve = serve
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections.append(connection)
                thread = threading.Thread(target=self._one, args=(connection, len(self.connections)))
                self.threads.append(thread)
                thread.start()

    def _one(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError):
            self._serve(connection, number)
        with contextlib.suppress(OSError):
            connection.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self._accepting.join()
        for connection in self.connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self.threads:
            thread.join()


@pytest.fixture
def server() -> Iterator[Callable[[Serve], Server]]:
    with contextlib.ExitStack() as stack:

        def make(serve: Serve) -> Server:
            made = Server(serve)
            stack.callback(made.close)
            return made

        yield make


def load(
    port: int,
    *,
    turns: int,
    busy: int = 1,
    idle: int = 0,
    idle_seconds: float = 0.05,
    timeout: float = 5.0,
    ask: Callable[[int, int], Request] = lambda _client, _turn: ASK,
    acknowledged: Callable[[str], None] = lambda _: None,
    announce: float | None = None,
) -> LoadResult:
    """Run until so many requests had an outcome (a few more may follow before the clients look)."""
    clients = Clients(Settings("127.0.0.1", port, busy, idle, idle_seconds, timeout, announce), ask, acknowledged)
    tally = clients.run(20.0, lambda: clients.tally.answered + clients.tally.lost >= turns)
    return tally.result(time.time())


def polite(sock: socket.socket, _number: int) -> None:
    while request(sock):
        sock.sendall(OK)


def keep_answering(sock: socket.socket, _number: int) -> None:
    """Answer per packet, whatever it says: the requests here are small."""
    while sock.recv(65536):
        sock.sendall(OK)
