"""Conductor's own server in nginx, on a unix socket: what nginx runs with, asked of a worker that accepts connections now."""

import contextlib
import re
import socket
from pathlib import Path

from conductor.http import Connection, InvalidResponse

DEADLINE_SECONDS = 2


class StatusServer:
    """The server that listens on `path`. `others` is the directory of all sockets of Conductor's servers in nginx."""

    def __init__(self, path: Path, others: Path) -> None:
        self._path = path
        self._others = others

    def generation(self) -> str | None:
        """Return the generation that the worker runs with; None when none answers."""
        return (self._get("/generation") or "").partition(" ")[0] or None

    def answering(self) -> tuple[str, int] | None:
        """Return the generation and the pid of the worker."""
        generation, _, pid = (self._get("/generation") or "").partition(" ")
        return (generation, int(pid)) if pid.isdigit() else None

    def listens(self) -> bool:
        """Return whether a process listens on the socket, even if no worker answers."""
        try:
            Connection(str(self._path), DEADLINE_SECONDS).close()
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        except OSError:  # its queue is full
            return True
        return True

    def announced(self) -> bool | None:
        """True when the worker sees the announce flag; None when none answers."""
        answer = self._get("/announced")
        return None if answer is None else answer == "1"

    def clients(self) -> tuple[int, int] | None:
        """Return active requests, this one included, and idle connections of all services; None when no worker answers."""
        found = re.search(r"Writing: (\d+) Waiting: (\d+)", self._get("/clients") or "")
        return (int(found[1]), int(found[2])) if found else None

    def _get(self, path: str) -> str | None:
        status, text = self.request("GET", path) or (0, "")
        return text if status == 200 else None

    def request(self, method: str, path: str, body: str = "") -> tuple[int, str] | None:
        """Return status and text of the answer; None when no worker answers."""
        try:
            with Connection(str(self._path), DEADLINE_SECONDS) as connection:
                headers = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(body.encode()))}
                return connection.request(method, path, headers, body.encode()), connection.body().decode()
        except (OSError, InvalidResponse):
            return None

    def remove_dead_sockets(self) -> None:
        """Remove socket files that a killed master left: nginx cannot start while they exist."""
        for path in {self._path, *self._others.glob("*.sock")}:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
                asking.settimeout(DEADLINE_SECONDS)  # the queue of a stopped nginx may be full
                try:
                    asking.connect(str(path))
                except ConnectionRefusedError:
                    path.unlink()
