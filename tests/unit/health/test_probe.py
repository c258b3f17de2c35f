"""Health checks of servers that send valid, invalid, slow or no responses."""

import contextlib
import socket
import threading
import time

import pytest

from conductor.definitions.model import Health
from conductor.definitions.scalars import Seconds
from conductor.health.probe import http_probe


@contextlib.contextmanager
def server(*pieces: bytes, pause: float = 0.0):
    """Answer every connection with `pieces`, `pause` seconds apart; yield the address and the requests received."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client, contextlib.suppress(OSError):
                        requests.append(client.recv(4096))
                        for piece in pieces:
                            client.sendall(piece)
                            time.sleep(pause)

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}", requests
        listener.shutdown(socket.SHUT_RDWR)


def health(timeout: float = 0.3, **more: object) -> Health:
    return Health(path="/up", timeout=Seconds(timeout), **more)


@pytest.mark.parametrize(
    ("answer", "ok", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True, "status 200 'ok'"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True, "status 204"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 11\r\n\r\nno database", False, "status 500 'no database'"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
            False,
            "status 302 'redirects to /login'",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True, "status 200 'ok'"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\no", False, "the response is incomplete"),
        (b"HTTP/1.0 200 OK\r\nX: content-length: 9\r\n\r\nok", True, "status 200 'ok'"),
        (
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\nok",
            False,
            "not an HTTP response: 'more than 65536 bytes of headers'",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + b"y" * 70000, True, f"status 200 '{'y' * 65536}'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", True, "status 200 'ok'"),  # an incomplete body
        (b"SSH-2.0-OpenSSH\r\n", False, "not an HTTP response: 'SSH-2.0-OpenSSH'"),
        (b"", False, "the connection was closed without a response"),
    ],
)
def test_answers(answer, ok, text):
    with server(answer) as (address, _):
        result = http_probe(address, health())
    assert (result.ok, str(result)) == (ok, text)


@pytest.mark.parametrize(("status", "ok"), [(200, True), (500, False)])
def test_an_answer_in_pieces(status, ok):
    pieces = [b"HTTP/1.1 ", b"%d Oh\r\nContent-" % status, b"Length: 4\r\n\r", b"\nup", b"up"]
    with server(*pieces, pause=0.02) as (address, _):
        result = http_probe(address, health(3.0))
    assert (result.ok, str(result)) == (ok, f"status {status} 'upup'")


def test_no_listener():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert str(http_probe(f"127.0.0.1:{port}", health())) == "connection refused"


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (b"HTTP/1.1 200 OK\r\n",) + (b"X: y\r\n",) * 50,
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n",) + (b"y",) * 50,
    ],
    ids=["silent", "slow headers", "a slow body"],
)
def test_the_deadline_covers_the_whole_exchange(pieces):
    with server(*pieces, b"", pause=0.1 if pieces else 3.0) as (address, _):
        began = time.monotonic()
        result = http_probe(address, health())
        assert time.monotonic() - began < 1.5
    assert str(result) == "no answer within 0.3s"


def test_the_request(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (address, requests):
        assert http_probe(address, health(host_header="api.example.com")).ok
        assert http_probe(address, health()).ok
    assert requests[0].startswith(b"GET /up HTTP/1.1\r\nHost: api.example.com\r\n")
    assert f"Host: {address}\r\n".encode() in requests[1]
