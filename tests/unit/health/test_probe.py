"""Health checks of servers that send valid, invalid, slow or no responses."""

import contextlib
import errno
import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from conductor.definitions.model import Health
from conductor.definitions.scalars import Seconds
from conductor.definitions.section import SecretRef
from conductor.errors import ConductorError
from conductor.health.probe import http_probe, probe, unaccepted


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


def health(timeout: float = 5.0, **more: object) -> Health:
    return Health(path="/up", timeout=Seconds(timeout), **more)


@pytest.mark.parametrize(
    ("answer", "ok", "text"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True, "status 200"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True, "status 204"),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 11\r\n\r\nno database", False, "status 500 'no database'"),
        (
            b"HTTP/1.1 302 Found\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n",
            False,
            "status 302 'redirects to /login'",
        ),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", True, "status 200"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\no", False, "the response is incomplete"),
        (b"HTTP/1.0 200 OK\r\nX: content-length: 9\r\n\r\nok", True, "status 200"),
        (
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70000 + b"\r\n\r\nok",
            False,
            "not an HTTP response: 'more than 65536 bytes of headers'",
        ),
        (b"HTTP/1.1 500 Oh\r\nContent-Length: 70000\r\n\r\n" + b"y" * 70000, False, f"status 500 '{'y' * 65536}'"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", False, "the response is incomplete"),
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
        result = http_probe(address, health())
    assert (result.ok, str(result)) == (ok, "status 200" if ok else "status 500 'upup'")


@pytest.mark.parametrize(
    ("accepted", "status", "ok"),
    [
        (("200",), 204, False),
        (("200", "300-399"), 302, True),
        (("200", "300-399"), 399, True),
        (("200", "300-399"), 400, False),
        (("401",), 401, True),
        (("401",), 200, False),
    ],
)
def test_accepted_statuses(accepted, status, ok):
    answer = b"HTTP/1.1 %d X\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n" % status
    with server(answer) as (address, _):
        result = http_probe(address, health(status=accepted))
    assert (result.ok, result.status) == (ok, status)


def test_request_headers(tmp_path):
    (tmp_path / "token").write_text("Basic aHVudGVyMg==\n")
    headers = {
        "X-Forwarded-Proto": "https",
        "Authorization": SecretRef(file=str(tmp_path / "token")),
        "user-agent": "x",
    }
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (address, requests):
        assert http_probe(address, health(headers=headers)).ok
    sent = requests[0].decode().split("\r\n")
    assert sent == [
        "GET /up HTTP/1.1", f"Host: {address}", "X-Forwarded-Proto: https", "Authorization: Basic aHVudGVyMg==",
        "user-agent: x", "Connection: close", "", "",
    ]  # fmt: skip


@pytest.mark.parametrize("contents", [None, "two\nlines", "caf\u00e9", "a\rb"])
def test_a_secret_header_that_cannot_be_sent_shows_nothing_about_the_replica(tmp_path, contents):
    file = tmp_path / "token"
    if contents is not None:
        file.write_text(contents, newline="")
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (address, requests):
        result = http_probe(address, health(headers={"Authorization": SecretRef(file=str(file))}))
    assert (result.ok, result.unknown, requests) == (False, True, [])
    assert result.error.startswith(f"{file}: health.headers.Authorization: ")
    assert contents is None or not any(part in result.error for part in ("two", "caf"))


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
    with server(*pieces, b"", pause=0.1 if pieces else 20.0) as (address, _):
        began = time.monotonic()
        result = http_probe(address, health(0.3))
        assert time.monotonic() - began < 4.0  # the slow ones last 5 s
    assert str(result) == "no response within 0.3s"


def test_the_request(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (address, requests):
        assert http_probe(address, health(host_header="api.example.com")).ok
        assert http_probe(address, health()).ok
    assert requests[0].startswith(b"GET /up HTTP/1.1\r\nHost: api.example.com\r\n")
    assert f"Host: {address}\r\n".encode() in requests[1]


@pytest.mark.parametrize("checked", [Health(path="/up"), Health(tcp=True)], ids=["http", "tcp"])
def test_a_check_that_this_process_cannot_make_shows_nothing_about_the_replica(checked: Health) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with server(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok") as (address, _):
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
        try:
            result = probe(address, checked)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert (result.ok, result.unknown) == (False, True)


def test_a_refused_connection_is_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    for checked in (Health(path="/up"), Health(tcp=True)):
        result = probe(address, checked)
        assert (result.ok, result.unknown, result.error) == (False, False, "connection refused")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def endpoint(listener: socket.socket) -> str:
    return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[list[str]]:
    """Three endpoints whose kernel drops each further connection, as a lost node does."""
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(3):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            stack.enter_context(socket.create_connection(listener.getsockname()))
            found.append(endpoint(listener))
        yield found


def test_those_that_refuse_and_those_that_are_silent(listening: socket.socket, silent: list[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = endpoint(closed)
    began = time.monotonic()
    assert unaccepted([*silent, refusing, endpoint(listening)], 0.2) == {*silent, refusing}
    assert time.monotonic() - began >= 0.2


def test_each_connection_is_closed(listening: socket.socket) -> None:
    assert unaccepted([endpoint(listening)], 5.0) == frozenset()
    connection, _ = listening.accept()
    with connection:
        connection.settimeout(5)
        assert connection.recv(1) == b""


def test_without_file_descriptors_nothing_is_known(
    listening: socket.socket, silent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(**_: object) -> socket.socket:
        raise OSError(errno.EMFILE, "no file descriptor")

    monkeypatch.setattr(socket, "socket", none_left)
    with pytest.raises(ConductorError, match="no file descriptor"):
        unaccepted(silent, 0.2)
