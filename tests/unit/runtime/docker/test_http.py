"""The little HTTP that tasks speak to the daemon: every shape of body, cut answers, and what is sent."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.errors import ConductorError
from conductor.runtime.docker.attach import DaemonGoneError, NotStartedError, TaskRuntime
from conductor.runtime.docker.http import Connection


@contextlib.contextmanager
def daemon(path: Path, *answers: bytes) -> Iterator[list[bytes]]:
    """Answers one request a connection, in turn; yields what was asked."""
    asked: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            for answer in answers:
                with listening.accept()[0] as connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(answer)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield asked
        serving.join(5)


BODIES = {
    "by length": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde", 200, b"abcde"),
    "in chunks": (b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", 201, b"abcde"),
    "to the end": (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde", 200, b"abcde"),
    "none": (b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n", 204, b""),
    "an upgrade": (b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n", 101, b""),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "status", "body"), BODIES.values(), ids=BODIES)
def test_bodies(tmp_path: Path, raw: bytes, status: int, body: bytes) -> None:
    with daemon(tmp_path / "d", raw), contextlib.closing(Connection(str(tmp_path / "d"), 5)) as connection:
        assert connection.ask("GET", "/") == status
        assert connection.body() == body


CUT = {
    "no answer": b"",
    "a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "a body": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
    "a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na",
    "no last chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "no HTTP": b"hello there, this is no web server\r\n\r\n",
}


@pytest.mark.parametrize("raw", CUT.values(), ids=CUT)
def test_an_answer_that_is_cut(tmp_path: Path, raw: bytes) -> None:
    with daemon(tmp_path / "d", raw), pytest.raises(ConductorError) as raised:
        TaskRuntime(f"unix://{tmp_path / 'd'}", "default").ping()
    assert raised.value.sentence == "cannot reach Docker: asked Docker, and the connection broke"


def test_what_is_sent(tmp_path: Path) -> None:
    with daemon(tmp_path / "d", BODIES["none"][0], BODIES["an upgrade"][0]) as asked:
        with contextlib.closing(Connection(str(tmp_path / "d"), 5)) as connection:
            connection.ask("POST", "/x?name=a%20b", {"Env": ["A=é"]})
        with contextlib.closing(Connection(str(tmp_path / "d"), 5)) as connection:
            connection.ask("POST", "/y", upgrade=True)
    body = b'{"Env": ["A=\\u00e9"]}'
    head = (
        b"POST /x?name=a%%20b HTTP/1.1\r\nHost: docker\r\nContent-Length: %d\r\nContent-Type: application/json\r\n\r\n"
    )
    assert asked[0] == head % len(body) + body
    assert asked[1].endswith(b"Content-Length: 0\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")


def said(status: int, body: str) -> bytes:
    return f"HTTP/1.1 {status} Answer\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def test_an_error_is_told_in_the_daemons_words(tmp_path: Path) -> None:
    for n, (body, words) in enumerate(
        [
            ('{"message": "a tired disk: unknown"}', "a tired disk"),
            ("no json", "Docker answered 500"),
            ("[1]", "Docker answered 500"),
        ]
    ):
        with daemon(tmp_path / str(n), said(500, body)), pytest.raises(ConductorError) as raised:
            TaskRuntime(f"unix://{tmp_path / str(n)}", "default").ping()
        assert raised.value.sentence == f"cannot reach Docker: {words}"


STARTS = {
    "not found": ("created", 127, 127),
    "not executable": ("created", 126, 126),
    "a full disk": ("created", 0, 125),
    "a port in use": ("created", 128, 125),
    "it runs all the same": ("running", 0, None),
    "it ran all the same": ("exited", 3, None),
}


@pytest.mark.parametrize(("status", "exit_code", "code"), STARTS.values(), ids=STARTS)
def test_a_start_that_answers_with_an_error(tmp_path: Path, status: str, exit_code: int, code: int | None) -> None:
    message = '{"message": "runc create failed: unable to start container process: exec: no"}'
    state = f'{{"State": {{"Status": "{status}", "ExitCode": {exit_code}}}}}'
    with daemon(tmp_path / "d", said(400, message), said(200, state)):
        tasks = TaskRuntime(f"unix://{tmp_path / 'd'}", "default")
        if code is None:
            tasks.start("c1", "bin/x")
            return
        with pytest.raises(NotStartedError) as raised:
            tasks.start("c1", "bin/x")
    assert (raised.value.sentence, raised.value.code) == ("cannot run bin/x: exec: no", code)


def test_nobody_is_there(tmp_path: Path) -> None:
    with pytest.raises(DaemonGoneError, match="cannot reach Docker at unix:"):
        TaskRuntime(f"unix://{tmp_path / 'nobody'}", "default").ping()


def test_an_address_that_it_cannot_speak_to() -> None:
    with pytest.raises(ConductorError, match="cannot run tasks over ssh://host"):
        TaskRuntime("ssh://host", "default")
