"""HTTP backends without containers: each answers with its own address, and can hold a request until it is told to answer."""

import contextlib
import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tests.support.claims import Claims


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128  # with the default of 5, one of eight may wait for the kernel's retry after 1 s


class Backend:
    """`endpoint` is its `IP:PORT`. `/hold` waits for `release`, `/missing` is not found; everything else is answered at once.

    `connections` counts those that it accepted, `received` its requests. With `answers`, it closes a connection that has
    had as many of them when the next request arrives.
    """

    def __init__(self, port: int, answers: int | None = None) -> None:
        self.endpoint = f"127.0.0.1:{port}"
        self.connections = 0
        self.received: list[str] = []
        self.held = threading.Semaphore(0)  # once for each request that is held
        self.release = threading.Event()
        backend = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                backend.connections += 1
                self.answered = 0
                super().setup()

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                backend.received.append(f"{self.command} {self.path}")
                self.close_connection = self.answered == answers
                if self.close_connection:
                    return
                self.answered += 1
                if self.path.startswith("/hold"):
                    backend.held.release()
                    backend.release.wait(30)
                body = backend.endpoint.encode()
                self.send_response(404 if self.path.startswith("/missing") else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):
                    self.wfile.write(body)

            do_POST = do_GET  # noqa: N815 (the name that http.server calls)

            def log_message(self, *_words: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def await_held(self) -> None:
        """Wait until one more request is held."""
        assert self.held.acquire(timeout=10)

    def stop(self) -> None:
        """Refuse connections from now on."""
        self.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def backends(claims: Claims, number: int) -> Iterator[list[Backend]]:
    """Start backends on ports of their own."""
    made: list[Backend] = []
    try:
        made += [Backend(claims.port()) for _ in range(number)]
        yield made
    finally:
        for one in made:
            one.stop()


def refusing(claims: Claims) -> str:
    """Return an endpoint that refuses connections."""
    port = claims.port()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", port))
    return f"127.0.0.1:{port}"
