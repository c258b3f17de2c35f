"""`conductor web` of a test host as a process, and clients of it: one request, or a page that stays open."""

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from typing import NamedTuple

from tests.support.commands import Spawned
from tests.support.host import TestHost


class Reply(NamedTuple):
    status: int
    body: str


class StatusPage:
    """The process, and requests to it."""

    def __init__(self, host: TestHost, runtime_dir: str | None = None) -> None:
        self._host = host
        self._runtime_dir = runtime_dir or str(host.runtime_dir)
        self.port = host.port("status page")
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it answers."""
        listen = ["--listen", f"127.0.0.1:{self.port}", "--runtime-dir", self._runtime_dir]
        self.process: Spawned = self._host.spawn("web", *listen)
        self._host.wait_for(self._answers, "the status page")

    def _answers(self) -> bool:
        assert self.process.running(), self.process.stderr
        with contextlib.suppress(OSError):
            return self.get("/page.css").status == 200
        return False

    def get(self, path: str = "/", **headers: str) -> Reply:
        """Send one GET request."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return Reply(answer.status, answer.read().decode())

    @contextlib.contextmanager
    def opened(self, path: str = "/events") -> Iterator["OpenPage"]:
        """Open a live page for as long as the block lasts."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request("GET", path)
            opened, answer = connection.sock, connection.getresponse()
            yield OpenPage(answer)
            opened.shutdown(socket.SHUT_RDWR)  # otherwise, `close` waits for the thread that reads


class OpenPage:
    """What a browser would show: each part as it was last sent. `seen` has every text that a part ever had."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self._answer = answer
        self.parts: dict[str, str] = {}
        self.seen: dict[str, list[str]] = {}
        self.events: list[int] = []  # bytes of each
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, ValueError, AttributeError, http.client.HTTPException):
            for line in iter(self._answer.readline, b""):
                if line.startswith(b"data: "):
                    self.events.append(len(line))
                    for name, text in json.loads(line.removeprefix(b"data: ")).get("parts", {}).items():
                        self.parts[name] = text
                        self.seen.setdefault(name, []).append(text)
