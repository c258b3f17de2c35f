"""A socket between Conductor and the real daemon that answers some requests itself: a daemon that is not to be trusted."""

import contextlib
import http.client
import os
import re
import signal
import socket
import socketserver
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tests.support.daemon import SOCKET

BODY = b'{"message": "the disk under the daemon is tired"}'
HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive"}


class Trouble(NamedTuple):
    """What happens to a request whose `METHOD PATH` matches: passed on first if `done`, then answered with 500."""

    pattern: str
    done: bool = False


class Fault(NamedTuple):
    """What happens to one request: its sender is killed, its connection cut, the answer is 500, comes late, ends in the middle or
    never comes, or `first` is called before it is passed on. `done`: after the daemon has done what was requested."""

    kind: Literal["kill", "cut", "500", "delay", "truncate", "hang", "call"]
    done: bool = False
    first: Callable[[], None] = lambda: None


DELAY_SECONDS = 2.0


class Place(NamedTuple):
    """The `number`-th request of a kind, counted from 1. The longer an action waits, the more often it lists containers, so a
    number among all requests would not name the same one each time."""

    kind: str  # METHOD and path without the query and the words with a digit: version, names and ids
    number: int


def places(calls: Sequence[str]) -> list[Place]:
    """Return the place of each of `calls`, which are METHOD and path."""
    seen: Counter[str] = Counter()
    found = []
    for call in calls:
        path = call.partition("?")[0]
        kind = "/".join(word for word in path.split("/") if not re.search(r"\d", word))
        seen[kind] += 1
        found.append(Place(kind, seen[kind]))
    return found


class DaemonBetween:
    """`with DaemonBetween(path) as between`: set `between.trouble` at any time; `between.url` goes into `host.docker`.

    `arm` chooses one request.
    """

    def __init__(self, path: Path, daemon: str = SOCKET) -> None:
        self.url = f"unix://{path}"
        self.daemon = daemon
        self.trouble: tuple[Trouble, ...] = ()
        self.calls: list[str] = []
        self.hang = threading.Event()  # cleared: requests are read and not answered until it is set
        self.hang.set()
        self.events: Literal["pass", "drop", "cut"] = "pass"  # cut: the stream ends in the middle of each event
        self._path = path
        self._place: Place | None = None
        self._fault: Fault | None = None
        self._lock = threading.Lock()

    def arm(self, place: Place | None = None, fault: Fault | None = None) -> None:
        """Apply `fault` to the request at `place` from now on, and forget the calls so far."""
        with self._lock:
            self.calls.clear()
            self._place, self._fault = place, fault

    def disarm(self) -> bool:
        """Apply no fault from now on. Return whether one was applied."""
        with self._lock:
            place, self._place = self._place, None
            return place is not None and place in places(self.calls)

    def take(self, call: str, body: bytes) -> Fault | None:
        """Record a request; return its fault."""
        with self._lock:
            self.calls.append(call)
            return self._fault if self._place is not None and places(self.calls)[-1] == self._place else None

    def __enter__(self) -> "DaemonBetween":
        self._server = _Server(str(self._path), _Handler)
        self._server.between = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._path.unlink(missing_ok=True)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    between: DaemonBetween

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):  # the client was killed
            super().handle_error(request, client_address)


class _Daemon(http.client.HTTPConnection):
    def __init__(self, url: str) -> None:
        super().__init__("localhost", timeout=120)
        self._url = url

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._url.removeprefix("unix://"))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def handle_one_request(self) -> None:
        """One request of a kept connection: passed on, or answered here."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        fault = self.server.between.take(f"{self.command} {self.path}", body)
        self.server.between.hang.wait(300)
        if fault is not None and fault.kind == "delay":
            time.sleep(DELAY_SECONDS)
            fault = None
        if fault is not None and fault.kind == "call":
            fault.first()
            fault = None
        if fault is not None:
            self._apply(fault, self._pass_on(body) if fault.done else None)
            return
        trouble = next((t for t in self.server.between.trouble if self._matches(t)), None)
        if trouble is None and (self.headers.get("Upgrade") or "/wait?" in self.path):
            self._splice(body)
            return
        if trouble is None and "/events?" in self.path:
            self._stream()
            return
        if trouble is None or trouble.done:
            status, headers, answer = self._pass_on(body)
        if trouble is not None:
            status, headers, answer = 500, [("Content-Type", "application/json")], BODY
        self._answer(status, headers, answer)

    def _apply(self, fault: Fault, answer: tuple[int, list[tuple[str, str]], bytes] | None) -> None:
        if fault.kind == "500":
            self._answer(500, [("Content-Type", "application/json")], BODY)
            return
        if fault.kind == "kill":
            pid, _, _ = struct.unpack("3i", self.connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
            os.kill(pid, signal.SIGKILL)
        if fault.kind == "truncate" and answer is not None:
            self._answer(*answer, sent=len(answer[2]) // 2)
        if fault.kind == "hang":
            with contextlib.suppress(OSError):
                self.connection.recv(1)  # until the client closes the connection
        self.close_connection = True

    def _answer(self, status: int, headers: list[tuple[str, str]], answer: bytes, sent: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer[:sent])

    def _matches(self, trouble: Trouble) -> bool:
        return re.search(trouble.pattern, f"{self.command} {self.path}") is not None

    def _stream(self) -> None:
        """Each piece as it comes, until either side has enough."""
        connection = _Daemon(self.server.between.daemon)
        connection.request(self.command, self.path, headers=dict(self.headers.items()))
        answer = connection.getresponse()
        self.send_response(answer.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")  # else the SDK takes it for one answer that ends some day
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            while data := answer.read1(65536):
                if self.server.between.events == "drop":
                    continue
                cut = self.server.between.events == "cut"
                data = data[: len(data) // 2] if cut else data
                self.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
                self.wfile.flush()
                if cut:
                    break
        connection.close()

    def _pass_on(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        with contextlib.closing(_Daemon(self.server.between.daemon)) as connection:
            connection.request(self.command, self.path, body, dict(self.headers.items()))
            answer = connection.getresponse()
            content = answer.read()
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOP_BY_HOP]
        return answer.status, kept, content

    def _splice(self, body: bytes) -> None:
        """An answer that comes bit by bit, or a connection that is no longer HTTP: byte for byte, both ways."""
        self.close_connection = True
        with socket.socket(socket.AF_UNIX) as daemon:
            daemon.connect(self.server.between.daemon.removeprefix("unix://"))
            daemon.sendall(self.raw_requestline + bytes(self.headers) + body)
            threading.Thread(target=_pump, args=(self.connection, daemon), daemon=True).start()
            _pump(daemon, self.connection)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
