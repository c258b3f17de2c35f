"""HTTP over sockets: a thread per connection, kept alive between requests, and a stop that loses no request."""

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
from payments.api import Answer, Api, Request
from payments.connections import Connections

BACKLOG = 1024
IDLE_SECONDS = 90  # longer than a proxy keeps its connections (nginx: 60), so that the proxy closes first
LARGEST_BODY = 1 << 20
COMPLAINT_SECONDS = 1.0


class Handler(BaseHTTPRequestHandler):
    """Reads one request after the other from a connection and sends each answer in one piece."""

    server: "Server"
    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    disable_nagle_algorithm = True

    def parse_request(self) -> bool:
        """Called with the first line read: from here on the connection is busy."""
        self.server.connections.busy(self.connection)
        return super().parse_request()

    def handle_one_request(self) -> None:
        """Wait for one request and answer it; after it the connection is idle."""
        super().handle_one_request()
        self.server.connections.idle(self.connection)

    def handle_method(self) -> None:
        """Answer the request whose head has been read."""
        body = self._body()
        if body is None:
            return
        url = urlsplit(self.path)
        request = Request(self.command, url.path, url.query, self.headers.get("Idempotency-Key", ""), body)
        try:
            answer = self.server.api.answer(request)
        except sqlite3.Error as error:
            answer = Answer(503, {"error": f"the database does not answer: {error}"}, {"Retry-After": "1"})
        except Exception:  # noqa: BLE001 - a bug must not take the connection's other requests with it
            traceback.print_exc()
            answer = Answer(500, {"error": "this is our fault"})
        self.send(answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_method  # noqa: N815

    def handle_expect_100(self) -> bool:
        """Tell a client that asks first to send its body, at once: it waits for this."""
        going_on = super().handle_expect_100()
        self.wfile.flush()
        return going_on

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what could not be read as a request; the connection ends, as nobody knows where the next begins."""
        self.close_connection = True
        self.send(Answer(code, {"error": message or HTTPStatus(code).phrase}))

    def send(self, answer: Answer) -> None:
        """Write head and body as one piece; every answer names the revision that gave it."""
        if answer.status == 0:
            self.server.connections.stopping.wait()
            self.close_connection = True
            return
        if answer.status >= 500:
            self.server.complain(f"{answer.status} for {self.requestline!r}: {answer.body.get('error')}")
        revision = settings.revision()
        body = json.dumps(answer.body | {"revision": revision}).encode() + b"\n"
        headers = {
            "Date": self.date_time_string(),
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "X-Service": settings.service(),
            "X-Revision": revision,
        } | answer.headers
        if self.close_connection or self.server.connections.stopping.is_set():
            headers["Connection"] = "close"
            self.close_connection = True
        head = f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        self.wfile.write(head.encode("latin-1") + (b"" if self.command == "HEAD" else body))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: the proxy logs requests, and a line for each would cost more than answering it."""

    def _body(self) -> bytes | None:
        written = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not written.isascii() or not written.isdigit():
            self.send_error(411, "send the body with a Content-Length")
        elif int(written) > LARGEST_BODY:
            self.send_error(413, f"the body is larger than {LARGEST_BODY} bytes")
        else:
            body = self.rfile.read(int(written))
            if len(body) == int(written):
                return body
            self.close_connection = True  # the client went away in the middle: there is nobody to answer
        return None


class Server(ThreadingHTTPServer):
    """The listening socket, and a thread for each connection."""

    daemon_threads = True
    request_queue_size = BACKLOG

    def __init__(self, address: tuple[str, int], api: Api) -> None:
        super().__init__(address, Handler)
        self.api = api
        self.connections = Connections()
        self._complained = ("", 0.0)
        self._stop, self._told = socket.socketpair()
        self._accepting = threading.Thread(target=self._accept, name="accepting")

    def start(self) -> None:
        """Accept connections from now on, in a thread."""
        self._accepting.start()

    def finish(self, within: float) -> int:
        """Stop accepting and answer what has been sent; how many connections were cut after so many seconds."""
        self._stop.close()
        self._accepting.join()
        return self.connections.finish(within)

    def complain(self, text: str) -> None:
        """Log it, but the same thing once a second: a failing health check should not bury all else."""
        last, when = self._complained
        if text != last or time.monotonic() - when >= COMPLAINT_SECONDS:
            self._complained = (text, time.monotonic())
            settings.log(text)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.opened(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.connections.closed(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell of what went wrong, unless it is only that a client went away."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def server_bind(self) -> None:
        """Bind without the name lookup that HTTPServer adds: it can take seconds in a container."""
        TCPServer.server_bind(self)

    def _accept(self) -> None:
        """Sleep until a client comes or `finish` closes its end of the pair; unlike serve_forever, without a poll."""
        self.socket.setblocking(False)
        with self.socket, self._told, selectors.DefaultSelector() as events:
            for source in (self.socket, self._told):
                events.register(source, selectors.EVENT_READ)
            told = False
            while not told:
                told = any(key.fileobj is self._told for key, _ in events.select())
                self._accept_waiting()  # also those in the queue when told to stop

    def _accept_waiting(self) -> None:
        while True:
            try:
                request, client_address = self.get_request()
            except OSError:
                return  # nobody waits any more
            try:
                self.process_request(request, client_address)
            except RuntimeError:  # no thread to be had
                self.shutdown_request(request)
