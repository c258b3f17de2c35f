"""Two clients that a careless drain forgets: one still uploading, one that connected early and speaks late."""

import socket
import threading
from urllib.parse import urlsplit

from tests.support.http_answer import Answer, read_answer

PIECE_SECONDS = 0.1


class OneConnection:
    """A single connection. `result` gives the answer, or raises what went wrong as `ConnectionError`."""

    def __init__(self, url: str, *, timeout: float = 60.0) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._sock = socket.create_connection((parts.hostname, parts.port or 80), timeout=timeout)

    def close(self) -> None:
        """Drop the connection."""
        self._sock.close()

    def _head(self, method: str, body_bytes: int) -> bytes:
        return f"{method} {self._path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: {body_bytes}\r\n\r\n".encode()

    def _read(self) -> Answer:
        buffer = b""
        while True:
            data = self._sock.recv(65536)
            buffer += data
            answer = read_answer(buffer, ended=not data)
            if answer is not None:
                return answer
            if not data:
                raise ConnectionError(f"closed after {len(buffer)} bytes of answer")


class EarlyBird(OneConnection):
    """Connects now, sends nothing until told to."""

    def send(self, method: str = "POST", body: bytes = b"early") -> Answer:
        """Send the request and read its answer."""
        self._sock.sendall(self._head(method, len(body)) + body)
        return self._read()


class SlowUpload(OneConnection):
    """Sends a request from a thread, ten bytes of its body a second, beginning now. Once told to finish, it sends the rest
    and reads the answer."""

    def __init__(self, url: str, *, body_bytes: int = 20000) -> None:
        super().__init__(url)
        self._body = b"x" * body_bytes
        self._finish = threading.Event()
        self._timer: threading.Timer | None = None
        self._outcome: Answer | Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish_after(self, seconds: float) -> None:
        """Have the rest sent then; return at once."""
        self._timer = threading.Timer(seconds, self._finish.set)
        self._timer.daemon = True
        self._timer.start()

    def result(self, timeout: float = 60.0) -> Answer:
        """Return the answer. Finish the upload now, unless `finish_after` was called."""
        if self._timer is None:
            self._finish.set()
        self._thread.join(timeout)
        self.close()
        if self._thread.is_alive():
            raise TimeoutError(f"the upload did not end in {timeout} s")
        if isinstance(self._outcome, Answer):
            return self._outcome
        raise ConnectionError(f"the upload was cut: {self._outcome}") from self._outcome

    def close(self) -> None:
        """End the thread too."""
        self._finish.set()
        super().close()

    def _run(self) -> None:
        try:
            self._sock.sendall(self._head("POST", len(self._body)))
            left = self._body
            while not self._finish.wait(PIECE_SECONDS):
                self._sock.sendall(left[:1])
                left = left[1:]
            self._sock.sendall(left)
            self._outcome = self._read()
        except (OSError, ValueError) as error:
            self._outcome = error
