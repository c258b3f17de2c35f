"""A small HTTP/1.1 client for health checks, tasks and unix sockets: one request per connection, one deadline for all of it.

`http.client` is not used because its import takes 13 ms of each `conductor run` (it imports `ssl` and `email`), and its
timeout starts anew with every byte. Actions use the Docker SDK instead of this client, because the SDK decodes Docker's
streams; its import takes 90 ms (both times with python -X importtime).
"""

import re
import select
import socket
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Self

MAX_HEAD_BYTES = 65536  # of a status line with its headers
CHUNK_BYTES = 65536
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9]+ +([1-9][0-9][0-9])[ \r\n]")
_END_OF_HEAD = re.compile(rb"\n\r?\n")  # some apps end lines with a bare newline
_WITHOUT_BODY = {101, 204, 304}


class InvalidResponse(ValueError):  # noqa: N818 (names what was received)
    """The response is not HTTP."""


class IncompleteBody(ConnectionError):  # noqa: N818 (as above)
    """The connection was closed before the end of the body."""

    def __init__(self) -> None:
        super().__init__("the response is incomplete")


def own_address() -> str | None:
    """Return this host's IPv4 address for outgoing connections; None without a route. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unsent:
        try:
            unsent.connect(("192.0.2.1", 9))  # TEST-NET-1 (RFC 5737)
        except OSError:
            return None
        return str(unsent.getsockname()[0])


def _encrypted(connected: socket.socket, name: str, *, verified: bool) -> socket.socket:
    """Return the connection with TLS. The certificate is `verified` against the authorities that the host trusts."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if verified:
        context.load_default_certs()
    else:  # the certificate may be one that only clients trust
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        return context.wrap_socket(connected, server_hostname=name)
    except BaseException:
        connected.close()
        raise


def _connect(address: str | tuple[str, int], seconds: float) -> socket.socket:
    if isinstance(address, tuple) and not address[0].replace(".", "").isdigit():
        return socket.create_connection(address, seconds)  # resolves names; slower, even for an IPv4 address
    connected = socket.socket(socket.AF_INET if isinstance(address, tuple) else socket.AF_UNIX)
    try:
        connected.settimeout(seconds)
        connected.connect(address)
    except BaseException:
        connected.close()
        raise
    return connected


class Connection:
    """One connection for one request, to a unix socket (a path) or a (host, port). With `tls_name`, it uses TLS for that name;
    the certificate is checked only if `verified`.

    Everything until `end_deadline` happens within `seconds`. Methods raise `OSError` (`TimeoutError` after the deadline)
    and `InvalidResponse`. No redirect is followed, no proxy is used.
    """

    def __init__(
        self,
        address: str | tuple[str, int],
        seconds: float,
        tls_name: str | None = None,
        *,
        verified: bool = False,
    ) -> None:
        self._deadline = time.monotonic() + seconds
        self._buffer = b""
        self.headers: dict[str, str] = {}  # of the response, names in lower case
        self.status = 0  # of the response
        self.socket = _connect(address, seconds)
        if tls_name is not None:
            self.socket.settimeout(max(self._deadline - time.monotonic(), 0.001))
            self.socket = _encrypted(self.socket, tls_name, verified=verified)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.socket.close()

    def request(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> int:
        """Send a request; return the status of the response once its headers have arrived. Skip interim (1xx) responses."""
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        self._limit()
        self.socket.sendall("\r\n".join(lines).encode() + body)
        self.status = 100
        while 100 <= self.status < 200 and self.status != 101:
            self._read_head()
        return self.status

    def body(self, max_bytes: int | None = None) -> bytes:
        """Return the body of the response, or its first `max_bytes`. Raise `IncompleteBody` when it ends early."""
        if self.status in _WITHOUT_BODY:
            return b""
        if self.headers.get("transfer-encoding", "").lower().endswith("chunked"):
            return self._chunks(max_bytes)
        if (length := self.headers.get("content-length")) is None:
            while max_bytes is None or len(self._buffer) < max_bytes:
                if not self._receive():
                    break
            return self._buffer[:max_bytes]
        if not (length.isascii() and length.isdigit()):
            raise InvalidResponse(f"Content-Length: {length}")
        return self._take(int(length) if max_bytes is None else min(int(length), max_bytes))

    def pieces(self) -> Iterator[bytes]:
        """Yield the body of the response in parts, as it arrives. Raise `IncompleteBody` when it ends early."""
        if not self.headers.get("transfer-encoding", "").lower().endswith("chunked"):
            yield self.body()
            return
        while size := self._chunk_size():
            piece = self._take(size)
            self._line()
            yield piece

    def is_readable(self, seconds: float) -> bool:
        """Wait for data, at most for `seconds`; return whether there is any, or the connection was closed."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(self._buffer) or bool(poll.poll(seconds * 1000))

    def end_deadline(self) -> None:
        """Let the rest of the response take any time."""
        self._deadline = float("inf")
        self.socket.settimeout(None)

    def _read_head(self) -> None:
        searched = 0
        while (end := _END_OF_HEAD.search(self._buffer, searched)) is None and len(self._buffer) <= MAX_HEAD_BYTES:
            if b"\n" in self._buffer and not _STATUS_LINE.match(self._buffer):
                break
            searched = max(0, len(self._buffer) - 2)
            if not self._receive():
                break
        found = _STATUS_LINE.match(self._buffer)
        if found is None and self._buffer:
            raise InvalidResponse(self._buffer.partition(b"\n")[0].strip().decode("latin-1"))
        if (end.end() if end else len(self._buffer)) > MAX_HEAD_BYTES:
            raise InvalidResponse(f"more than {MAX_HEAD_BYTES} bytes of headers")
        if found is None or end is None:
            raise ConnectionResetError("the connection was closed without a response")
        head = self._buffer[: end.start()].decode("latin-1")
        self._buffer = self._buffer[end.end() :]
        self.status = int(found[1])
        self.headers = {}
        for line in head.split("\n")[1:]:
            name, _, value = line.partition(":")
            self.headers[name.lower()] = value.strip()

    def _chunks(self, max_bytes: int | None) -> bytes:
        body = b""
        while size := self._chunk_size():
            if max_bytes is not None and len(body) + size >= max_bytes:
                return body + self._take(max_bytes - len(body))
            body += self._take(size)
            self._line()
        return body

    def _chunk_size(self) -> int:
        line = self._line()
        try:
            return int(line.partition(b";")[0], 16)
        except ValueError as error:
            raise InvalidResponse(line.decode("latin-1")) from error

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            if len(self._buffer) > MAX_HEAD_BYTES or not self._receive():
                raise IncompleteBody
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _take(self, size: int) -> bytes:
        if len(self._buffer) < size:
            parts, missing = [self._buffer], size - len(self._buffer)
            self._buffer = b""
            while missing > 0 and self._receive():
                parts.append(self._buffer)
                missing -= len(self._buffer)
                self._buffer = b""
            self._buffer = b"".join(parts)
            if missing > 0:
                raise IncompleteBody
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def _receive(self) -> bool:
        """Read more of the response into the buffer; False at its end."""
        self._limit()
        data = self.socket.recv(CHUNK_BYTES)
        self._buffer += data
        return bool(data)

    def _limit(self) -> None:
        """Give the next call on the socket the time that is left."""
        if self._deadline != float("inf"):
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("timed out")
            self.socket.settimeout(left)
