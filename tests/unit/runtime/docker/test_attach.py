"""The task runtime against a daemon that answers with errors, or not completely: a socket with the responses of each test."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.errors import ConductorError
from conductor.runtime.docker.attach import NotStartedError, TaskRuntime
from conductor.runtime.port import RuntimeUnavailable


@contextlib.contextmanager
def daemon(path: Path, *responses: bytes) -> Iterator[list[bytes]]:
    """Answer one request per connection, in order; yield the requests received."""
    requests: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            for response in responses:
                with listening.accept()[0] as connection:
                    requests.append(connection.recv(65536))
                    connection.sendall(response)

        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield requests
        serving.join(5)


def response(status: int, body: str) -> bytes:
    return f"HTTP/1.1 {status} Answer\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


INVALID = {
    "no response": b"",
    "a part of the body": response(200, '{"Id": 1}')[:-3],
    "not HTTP": b"hello there, this is not a web server\r\n\r\n",
}


@pytest.mark.parametrize("raw", INVALID.values(), ids=INVALID)
def test_an_incomplete_response_means_unavailable(tmp_path: Path, raw: bytes) -> None:
    with daemon(tmp_path / "d", raw), pytest.raises(RuntimeUnavailable) as raised:
        TaskRuntime(f"unix://{tmp_path / 'd'}", "default").ping()
    assert raised.value.sentence == "cannot reach Docker: the connection to Docker broke"


def test_the_requests(tmp_path: Path) -> None:
    upgraded = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    with daemon(tmp_path / "d", response(200, "[]"), upgraded) as requests:
        tasks = TaskRuntime(f"unix://{tmp_path / 'd'}", "default")
        assert tasks.unfinished("web", "é") == ()
        tasks.attach("c1").close()
    listed = requests[0].split(b" ")[1].decode()
    assert listed.startswith("/containers/json?all=1&filters=%7B%22label%22%3A%20%5B%22conductor.instance%3Ddefault")
    assert requests[0].endswith(b" HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\n\r\n")
    assert requests[1].endswith(b"Content-Length: 0\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"message": "a full disk: unknown"}', "a full disk"),
        ("no json", "Docker answered 500"),
        ("[1]", "Docker answered 500"),
    ],
)
def test_an_error_has_the_daemons_message(tmp_path: Path, body: str, message: str) -> None:
    with daemon(tmp_path / "d", response(500, body)), pytest.raises(ConductorError) as raised:
        TaskRuntime(f"unix://{tmp_path / 'd'}", "default").ping()
    assert raised.value.sentence == f"cannot reach Docker: {message}"
    assert not isinstance(raised.value, RuntimeUnavailable)


STARTS = {
    "not found": ("created", 127, 127),
    "not executable": ("created", 126, 126),
    "a full disk": ("created", 0, 125),
    "a port in use": ("created", 128, 125),
    "it runs": ("running", 0, None),
    "it has exited": ("exited", 3, None),
}


@pytest.mark.parametrize(("status", "exit_code", "code"), STARTS.values(), ids=STARTS)
def test_a_start_whose_response_is_an_error(tmp_path: Path, status: str, exit_code: int, code: int | None) -> None:
    failed = response(400, '{"message": "runc create failed: unable to start container process: exec: no"}')
    state = response(200, json.dumps({"State": {"Status": status, "ExitCode": exit_code}}))
    with daemon(tmp_path / "d", failed, state):
        tasks = TaskRuntime(f"unix://{tmp_path / 'd'}", "default")
        if code is None:
            tasks.start("c1", "bin/x")
            return
        with pytest.raises(NotStartedError) as raised:
            tasks.start("c1", "bin/x")
    assert (raised.value.sentence, raised.value.code) == ("cannot run bin/x: exec: no", code)


def test_an_address_without_support_for_tasks() -> None:
    with pytest.raises(ConductorError, match="cannot run tasks over ssh://host"):
        TaskRuntime("ssh://host", "default")
