"""The sockets: loopback and unix only."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from conductor.errors import ConductorError, UsageError
from conductor.web.listeners import inherited, listener


@pytest.mark.parametrize("address", ["127.0.0.1:0", "127.8.8.8:0"])
def test_loopback(address: str) -> None:
    with listener(address) as made:
        assert made.getsockname()[0] == address.partition(":")[0]


def test_a_unix_socket_and_one_that_an_earlier_process_left(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    for _ in range(2):
        with listener(f"unix:{path}") as made:
            assert made.getsockname() == str(path)


def test_a_socket_on_which_a_process_listens_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as client:
        other.bind(str(path))
        other.listen()
        with pytest.raises(ConductorError):
            listener(f"unix:{path}")
        client.connect(str(path))


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(ConductorError) as raised:
        listener(f"unix:{tmp_path}/{'a' * 200}")
    assert raised.value.sentence.endswith("AF_UNIX path too long")


def test_no_other_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ConductorError):
        listener(f"unix:{tmp_path}/file")
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0:80",
        "[::]:80",
        "10.0.0.1:80",
        "example.org:80",
        "9750",
        "",
        "127.0.0.1",
        "127.0.0.1:x",
        "127.0.0.1:²",
        "127.0.0.1:99999",
    ],
)
def test_every_other_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        listener(address)


def test_sockets_of_another_process_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    monkeypatch.setenv("LISTEN_FDS", "1")
    assert inherited() == []


@pytest.mark.parametrize(("address", "code"), [("127.0.0.1", 0), ("0.0.0.0", 2)])
def test_sockets_of_systemd(address: str, code: int) -> None:
    """As systemd does: the socket is number 3, and the variable names the process."""
    program = (
        "import os, sys; from conductor.errors import UsageError; from conductor.web.listeners import inherited\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
        "try: sys.exit(inherited()[0].getsockname()[0] != '127.0.0.1')\n"
        "except UsageError as error: sys.exit(error.code)"
    )
    with socket.socket() as made:
        made.bind((address, 0))
        made.listen()
        shell = f'exec {sys.executable} -c "$0" 3<&{made.fileno()}'
        done = subprocess.run(["bash", "-c", shell, program], pass_fds=[made.fileno()], check=False)
    assert done.returncode == code
