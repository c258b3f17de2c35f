"""Keep-alive clients over TLS, each a thread: fewer and slower than `load.py`'s, with the same idea of what is lost.

Every request is a POST, none is tried again, and a connection that the server closed under one counts as a loss.
"""

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections import Counter
from pathlib import Path


class TlsConnection(http.client.HTTPSConnection):
    """To 127.0.0.1, for the name that the certificate is for."""

    def __init__(self, name: str, port: int, certificate: Path) -> None:
        self.trusting = ssl.create_default_context(cafile=str(certificate))
        super().__init__(name, port, timeout=10, context=self.trusting)

    def connect(self) -> None:
        """No name is looked up."""
        raw = socket.create_connection(("127.0.0.1", self.port), self.timeout)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = self.trusting.wrap_socket(raw, server_hostname=self.host)


class TlsClients:
    """`with TlsClients(name, port, certificate) as clients`; `revisions` counts answers, `lost` describes the others."""

    def __init__(self, name: str, port: int, certificate: Path, *, busy: int = 4, idle: int = 8) -> None:
        self._to = (name, port, certificate)
        self._over = threading.Event()
        self.revisions: Counter[str] = Counter()
        self.lost: list[str] = []
        pauses = [0.0] * busy + [0.1] * idle
        self._threads = [threading.Thread(target=self._run, args=(pause,), daemon=True) for pause in pauses]

    def __enter__(self) -> "TlsClients":
        for thread in self._threads:
            thread.start()
        until = time.monotonic() + 10
        while sum(self.revisions.values()) + len(self.lost) < len(self._threads):
            if time.monotonic() > until:
                raise TimeoutError(f"no first answers: {self.revisions}")
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(15)

    def _run(self, pause: float) -> None:
        with contextlib.closing(TlsConnection(*self._to)) as connection:
            while not self._over.wait(pause):
                try:
                    connection.request("POST", "/", b"amount=100")
                    answer = connection.getresponse()
                    answer.read()
                except (OSError, http.client.HTTPException) as error:
                    self.lost.append(f"{type(error).__name__}: {error}")
                    connection.close()
                    continue
                if answer.status == 200:
                    self.revisions[answer.headers["X-Revision"]] += 1
                else:
                    self.lost.append(f"status {answer.status}")
