"""nginx itself: its pid file, its error log, and the answers of its private status server."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.definitions.model import HostNginx
from conductor.errors import ConductorError
from conductor.traffic.nginx import Nginx
from conductor.traffic.port import TrafficUnavailable

ANSWERS = {
    "/generation": "0123456789abcdef 77",
    "/announced": "1",
    "/clients": "Active connections: 5 \nserver accepts\nReading: 0 Writing: 2 Waiting: 3 \n",
}


@pytest.fixture
def nginx(tmp_path: Path) -> Nginx:
    return Nginx(HostNginx(binary="/bin/true"), tmp_path / "status.sock", tmp_path / "unavailable.sock")


@pytest.fixture
def answers(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A status server that answers with these; 404 for any other path."""
    found = dict(ANSWERS)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(tmp_path / "status.sock"))
        server.listen()

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    client, _ = server.accept()
                    with client:
                        body = found.get(client.recv(4096).decode().split()[1])
                        status = "404 Not Found" if body is None else "200 OK"
                        text = body or ""
                        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
                        client.sendall((head + text).encode())

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield found
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_the_status_server_shows_generation_worker_flag_and_clients(nginx: Nginx, answers: dict[str, str]) -> None:
    assert nginx.generation() == "0123456789abcdef"
    assert nginx.answering() == ("0123456789abcdef", 77)
    assert (nginx.announced(), nginx.clients()) == (True, (2, 3))
    answers["/announced"] = "0"
    assert nginx.announced() is False


def test_without_a_status_server_nothing_is_known(nginx: Nginx) -> None:
    assert (nginx.generation(), nginx.answering(), nginx.announced(), nginx.clients()) == (None, None, None, None)


def test_a_status_server_with_other_answers_shows_nothing(nginx: Nginx, answers: dict[str, str]) -> None:
    answers.clear()
    assert (nginx.generation(), nginx.answering(), nginx.announced(), nginx.clients()) == (None, None, None, None)


@pytest.mark.parametrize(
    "pid",
    [None, "", "text", str(os.getpid()), str(2**22 + 1)],
    ids=["none", "empty", "text", "another program", "no process"],
)
def test_a_pid_file_that_names_no_master_means_that_nginx_does_not_run(
    nginx: Nginx, tmp_path: Path, pid: str | None
) -> None:
    path = tmp_path / "nginx.pid"
    if pid is not None:
        path.write_text(pid)
    with pytest.raises(TrafficUnavailable) as unavailable:
        nginx.master(f"user www-data;\npid {path};\n")
    assert str(path) in unavailable.value.sentence
    assert path.exists() is bool(pid), "an empty file breaks later reloads, and is removed"


def test_a_status_server_without_a_pid_file_is_an_error_and_not_a_stopped_nginx(
    nginx: Nginx, tmp_path: Path, answers: dict[str, str]
) -> None:
    with pytest.raises(ConductorError) as failed:
        nginx.master(f"pid {tmp_path / 'nginx.pid'};\n")
    assert not isinstance(failed.value, TrafficUnavailable)
    assert str(tmp_path / "nginx.pid") in failed.value.sentence


def closes_one_connection(server: socket.socket) -> None:
    client, _ = server.accept()
    client.close()


def test_sockets_of_a_killed_nginx_are_removed_and_used_ones_stay(nginx: Nginx, tmp_path: Path) -> None:
    left, used = tmp_path / "unavailable.sock", tmp_path / "status.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as killed:
        killed.bind(str(left))
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as server:
        server.bind(str(used))
        server.listen()
        server.settimeout(5)
        thread = threading.Thread(target=closes_one_connection, args=[server])
        thread.start()
        with pytest.raises(TrafficUnavailable):
            nginx.master(f"pid {tmp_path / 'nginx.pid'};\n")
        thread.join()
    assert (left.exists(), used.exists()) == (False, True)


@pytest.mark.parametrize(
    ("dump", "path"),
    [
        ("error_log /var/log/nginx/x.log notice;\nerror_log /other;\n", "/var/log/nginx/x.log"),
        ('worker_processes 2; error_log "/var/log/x.log";\n', "/var/log/x.log"),
        ("error_log stderr;\nerror_log /y.log;\n", "/y.log"),
        ("error_log syslog:server=unix:/dev/log;\nerror_log memory:32m;\nerror_log /y.log;\n", "/y.log"),
        ("http { error_log /of/requests.log; }\nerror_log logs/error.log;", "/usr/share/nginx/logs/error.log"),
    ],
)
def test_the_error_log_is_the_first_file_of_the_main_context(nginx: Nginx, dump: str, path: str) -> None:
    assert nginx.error_log(dump) == Path(path)


def test_a_missing_binary_is_an_error_with_its_name(tmp_path: Path) -> None:
    absent = Nginx(HostNginx(binary=str(tmp_path / "nginx")), tmp_path / "status.sock")
    with pytest.raises(ConductorError) as failed:
        absent.check({})
    assert str(tmp_path / "nginx") in failed.value.sentence


def test_a_master_that_has_exited_cannot_be_signalled() -> None:
    with pytest.raises(ConductorError):
        Nginx.reload(2**22 + 1)
