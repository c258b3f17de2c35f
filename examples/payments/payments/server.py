"""The HTTP server: a thread per keep-alive connection, and graceful shutdown."""

import json
import selectors
import socket
import sqlite3
import sys
import threading
import time
import traceback
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

from payments import settings
from payments.api import Api, Request, Response
from payments.connections import Connections

BACKLOG = 1024
IDLE_SECONDS = 90  # longer than a proxy's own (nginx: 60), so that the proxy closes idle connections first
LARGEST_BODY = 1 << 20
REPEATED_ERROR_SECONDS = 1.0


class Handler(BaseHTTPRequestHandler):
    """Reads the requests of a connection one after the other and sends each response in one write."""

    server: "Server"
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def parse_request(self) -> bool:
        """Mark the connection as busy; the request's first line has been read."""
        self.server.connections.busy(self.connection)
        return super().parse_request()

    def handle_one_request(self) -> None:
        """Wait for one request and handle it; then mark the connection as idle."""
        super().handle_one_request()
        self.server.connections.idle(self.connection)

    def handle_method(self) -> None:
        """Respond to the request whose head has been read."""
        body = self._body()
        if body is None:
            return
        url = urlsplit(self.path)
        request = Request(self.command, url.path, url.query, self.headers.get("Idempotency-Key", ""), body)
        try:
            response = self.server.api.handle(request)
        except sqlite3.Error as error:
            response = Response(503, {"error": f"the database is not available: {error}"}, {"Retry-After": "1"})
        except Exception:  # noqa: BLE001 - a bug must not break the connection's other requests
            traceback.print_exc()
            response = Response(500, {"error": "internal server error"})
        self.send(response)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_method  # noqa: N815

    def handle_expect_100(self) -> bool:
        """Send 100 Continue immediately, because the client waits for it."""
        proceed = super().handle_expect_100()
        self.wfile.flush()
        return proceed

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Respond to a malformed request and close the connection: the start of the next request is unknown."""
        self.close_connection = True
        self.send(Response(code, {"error": message or HTTPStatus(code).phrase}))

    def send(self, response: Response) -> None:
        """Write head and body in one piece; every response names its revision."""
        if response.status == 0:
            self.server.connections.stopping.wait()
            self.close_connection = True
            return
        if response.status >= 500:
            self.server.log_error(f"{response.status} for {self.requestline!r}: {response.body.get('error')}")
        revision = settings.revision()
        body = json.dumps(response.body | {"revision": revision}).encode() + b"\n"
        headers = {
            "Date": self.date_time_string(),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "X-Service": settings.service(),
            "X-Revision": revision,
        } | response.headers
        if self.close_connection or self.server.connections.stopping.is_set():
            headers["Connection"] = "close"
            self.close_connection = True
        head = f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        self.wfile.write(head.encode("latin-1") + (b"" if self.command == "HEAD" else body))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing: the proxy logs requests."""

    def _body(self) -> bytes | None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isascii() or not length.isdigit():
            self.send_error(411, "Content-Length required")
        elif int(length) > LARGEST_BODY:
            self.send_error(413, f"the body is larger than {LARGEST_BODY} bytes")
        else:
            body = self.rfile.read(int(length))
            if len(body) == int(length):
                return body
            self.close_connection = True  # the client disconnected in the middle of the body
        return None


class Server(ThreadingHTTPServer):
    """The listening socket, and a thread for each connection."""

    daemon_threads = True
    request_queue_size = BACKLOG

    def __init__(self, address: tuple[str, int], api: Api) -> None:
        super().__init__(address, Handler)
        self.api = api
        self.connections = Connections()
        self._last_error = ("", 0.0)
        self._stop, self._stopped = socket.socketpair()
        self._accepting = threading.Thread(target=self._accept, name="accepting")

    def start(self) -> None:
        """Accept connections in a thread."""
        self._accepting.start()

    def finish(self, within: float) -> int:
        """Stop accepting and finish pending requests; return how many connections are still open after `within` seconds."""
        self._stop.close()
        self._accepting.join()
        return self.connections.finish(within)

    def log_error(self, text: str) -> None:
        """Log an error; a repeated one, such as of a failing health check, at most once a second."""
        last, when = self._last_error
        if text != last or time.monotonic() - when >= REPEATED_ERROR_SECONDS:
            self._last_error = (text, time.monotonic())
            settings.log(text)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.opened(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.connections.closed(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log the exception unless a client has disconnected."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_bind(self) -> None:
        """Bind without HTTPServer's name lookup, which can take seconds in a container."""
        TCPServer.server_bind(self)

    def _accept(self) -> None:
        """Accept connections until `finish` closes its end of the socket pair; serve_forever would poll."""
        self.socket.setblocking(False)
        with self.socket, self._stopped, selectors.DefaultSelector() as events:
            for source in (self.socket, self._stopped):
                events.register(source, selectors.EVENT_READ)
            stopped = False
            while not stopped:
                stopped = any(key.fileobj is self._stopped for key, _ in events.select())
                self._accept_waiting()  # even after a stop, for clients in the backlog

    def _accept_waiting(self) -> None:
        while True:
            try:
                request, client_address = self.get_request()
            except OSError:
                return  # the backlog is empty
            try:
                self.process_request(request, client_address)
            except RuntimeError:  # no thread could be started
                self.shutdown_request(request)
