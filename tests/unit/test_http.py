"""The HTTP client against a socket: every kind of body, incomplete and invalid responses, interim responses, the deadline."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.http import Connection, IncompleteBody, InvalidResponse


@contextlib.contextmanager
def server(path: Path, *pieces: bytes, pause: float = 0.0) -> Iterator[list[bytes]]:
    """Answer one request with `pieces`, `pause` seconds apart; yield the requests received."""
    requests: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            with listening.accept()[0] as connection, contextlib.suppress(OSError):
                requests.append(connection.recv(65536))
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(pause)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield requests
        serving.join(5)


def get(path: Path, *, seconds: float = 5.0, max_bytes: int | None = None) -> tuple[int, bytes, dict[str, str]]:
    with Connection(str(path), seconds) as connection:
        status = connection.request("GET", "/", {"Host": "x"})
        return status, connection.body(max_bytes), connection.headers


CHUNKED = b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n"
RESPONSES = {
    "by length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde and more", 200, b"abcde"),
    "in chunks": (CHUNKED, 201, b"abcde"),
    "to the end": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde", 200, b"abcde"),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\nabcde", 200, b"abcde"),
    "bare newlines": (b"HTTP/1.1 200 OK\nContent-Length: 5\n\nabcde", 200, b"abcde"),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nabcde", 200, b"abcde"),
    "no content": (b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n", 204, b""),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
    "an upgrade": (b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", 101, b""),
    "after interim responses": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde",
        200, b"abcde",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "status", "body"), RESPONSES.values(), ids=RESPONSES)
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_responses(tmp_path: Path, raw: bytes, status: int, body: bytes, size: int) -> None:
    with server(tmp_path / "s", *(raw[at : at + size] for at in range(0, len(raw), size))):
        assert get(tmp_path / "s")[:2] == (status, body)


@pytest.mark.parametrize("raw", [RESPONSES[kind][0] for kind in ("by length", "in chunks", "to the end")])
def test_the_first_bytes_of_a_body(tmp_path: Path, raw: bytes) -> None:
    with server(tmp_path / "s", raw):
        assert get(tmp_path / "s", max_bytes=4)[1] == b"abcd"


def test_the_first_bytes_of_a_chunk_that_does_not_end(tmp_path: Path) -> None:
    with server(tmp_path / "s", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40000000\r\nabcde"):
        assert get(tmp_path / "s", max_bytes=4)[1] == b"abcd"


def test_headers(tmp_path: Path) -> None:
    with server(tmp_path / "s", b"HTTP/1.1 302 Found\r\nLocation:  /login \r\nX-A: b: c\r\nContent-Length: 0\r\n\r\n"):
        assert get(tmp_path / "s")[2] == {"location": "/login", "x-a": "b: c", "content-length": "0"}


INCOMPLETE = {
    "by length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
    "a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na",
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
}


@pytest.mark.parametrize("raw", INCOMPLETE.values(), ids=INCOMPLETE)
def test_an_incomplete_body(tmp_path: Path, raw: bytes) -> None:
    with server(tmp_path / "s", raw), pytest.raises(IncompleteBody):
        get(tmp_path / "s")


INVALID = {
    "no response": (b"", ConnectionResetError, "closed without a response"),
    "a part of the head": (b"HTTP/1.1 200 OK\r\nContent-Le", ConnectionResetError, "closed without a response"),
    "another protocol": (b"SSH-2.0-OpenSSH\r\n", InvalidResponse, "^SSH-2.0-OpenSSH$"),
    "text": (b"hello there", InvalidResponse, "^hello there$"),
    "too many headers": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 11000 + b"\r\n", InvalidResponse, "65536 bytes"),
    "an invalid length": (b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", InvalidResponse, "Content-Length: -5"),
    "an invalid chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", InvalidResponse, "x"),
}


@pytest.mark.parametrize(("raw", "error", "text"), INVALID.values(), ids=INVALID)
def test_an_invalid_response(tmp_path: Path, raw: bytes, error: type[Exception], text: str) -> None:
    with server(tmp_path / "s", raw), pytest.raises(error, match=text):
        get(tmp_path / "s")


def test_the_request(tmp_path: Path) -> None:
    with (
        server(tmp_path / "s", RESPONSES["no content"][0]) as requests,
        Connection(str(tmp_path / "s"), 5) as connection,
    ):
        connection.request("POST", "/x?name=a%20b", {"Host": "h", "Content-Length": "3"}, b"abc")
    assert requests == [b"POST /x?name=a%20b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"]


SLOW = {
    "silent": [b"", b"", b""],
    "slow headers": [b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 8],
    "a slow body": [b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", *[b"y"] * 8],
}


@pytest.mark.parametrize("pieces", SLOW.values(), ids=SLOW)
def test_the_deadline_covers_the_whole_exchange(tmp_path: Path, pieces: list[bytes]) -> None:
    with server(tmp_path / "s", *pieces, pause=0.15):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            get(tmp_path / "s", seconds=0.25)
        assert time.monotonic() - began < 1.0


def test_nothing_is_sent_after_the_deadline(tmp_path: Path) -> None:
    with (
        server(tmp_path / "s", RESPONSES["no content"][0]) as requests,
        Connection(str(tmp_path / "s"), 0.05) as connection,
    ):
        time.sleep(0.1)
        with pytest.raises(TimeoutError):
            connection.request("GET", "/", {"Host": "h"})
        connection.close()
    assert requests == [b""]


def test_without_a_deadline_the_body_may_take_any_time(tmp_path: Path) -> None:
    raw = RESPONSES["by length"][0]
    with server(tmp_path / "s", raw[:-14], raw[-14:], pause=0.2), Connection(str(tmp_path / "s"), 0.1) as connection:
        connection.request("GET", "/", {"Host": "x"})
        connection.end_deadline()
        assert connection.body() == b"abcde"


def test_no_listener(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Connection(str(tmp_path / "none"), 1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for host in ("127.0.0.1", "localhost"):
        with pytest.raises(ConnectionRefusedError):
            Connection((host, port), 1)
