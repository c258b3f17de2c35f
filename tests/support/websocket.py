"""A client that stays for long: it asks for an upgrade of its connection and then has what it says echoed."""

from tests.support.http_answer import Answer
from tests.support.odd_clients import OneConnection


class WebSocket(OneConnection):
    """Open once made; the fixture app echoes bytes, without a WebSocket's framing. `answer` is the 101."""

    def __init__(self, url: str) -> None:
        super().__init__(f"{url}ws", timeout=10)
        head = f"GET {self._path} HTTP/1.1\r\nHost: {self._host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
        self._sock.sendall(head.encode())
        self.answer: Answer = self._read()
        if self.answer.status != 101:
            raise ConnectionError(f"not upgraded: {self.answer}")

    def echo(self, text: bytes) -> bytes:
        """Say something and hear it; less than that when the connection is over."""
        heard = b""
        try:
            self._sock.sendall(text)
            while len(heard) < len(text) and (data := self._sock.recv(65536)):
                heard += data
        except OSError:
            return heard
        return heard
