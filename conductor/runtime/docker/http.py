"""HTTP/1.1 to the daemon, as little of it as tasks need: `http.client` brings `ssl` and `email`, 13 ms of each `conductor run`."""

import json
import socket
from collections.abc import Mapping
from typing import Any


class Connection:
    """One connection for one request, to a unix socket or a (host, port). Its methods raise `OSError`, a `TimeoutError` among
    them, and `ValueError` for what is no HTTP.
    """

    def __init__(self, address: str | tuple[str, int], deadline: float) -> None:
        if isinstance(address, tuple):
            self.socket = socket.create_connection(address, deadline)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(deadline)
            try:
                self.socket.connect(address)
            except OSError:
                self.socket.close()
                raise
        self._incoming = self.socket.makefile("rb")
        self._headers: dict[str, str] = {}

    def ask(self, method: str, path: str, body: Mapping[str, Any] | None = None, *, upgrade: bool = False) -> int:
        """Send a request; the status of its answer, whose head has come."""
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", "Host: docker", f"Content-Length: {len(content)}"]
        if body is not None:
            lines.append("Content-Type: application/json")
        lines += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else []
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode() + content)
        status = int(self._line().split(maxsplit=2)[1])
        while line := self._line():
            name, _, value = line.partition(":")
            self._headers[name.lower()] = value.strip()
        return status

    def body(self) -> bytes:
        """The whole body of the answer."""
        if self._headers.get("transfer-encoding", "").lower() == "chunked":
            return self._chunks()
        if "content-length" in self._headers:
            return self._exactly(int(self._headers["content-length"]))
        return self._incoming.read() if self._headers.get("connection") == "close" else b""

    def close(self) -> None:
        """Leave."""
        self._incoming.close()
        self.socket.close()

    def _chunks(self) -> bytes:
        found = []
        while size := int(self._line().partition(";")[0], 16):
            found.append(self._exactly(size))
            self._line()
        return b"".join(found)

    def _exactly(self, size: int) -> bytes:
        data = self._incoming.read(size)
        if len(data) < size:
            raise ConnectionError("its answer was cut")
        return data

    def _line(self) -> str:
        line = self._incoming.readline(65537)
        if not line.endswith(b"\n"):
            raise ConnectionError("its answer was cut")
        return line.rstrip(b"\r\n").decode("latin-1")
