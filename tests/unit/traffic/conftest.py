"""A living process, and answers of Conductor's own server in nginx, for tests that need them."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.traffic.processes import Worker, boot_id

ANSWERS = {
    "/generation": "0123456789abcdef 77",
    "/announced": "1",
    "/clients": "Active connections: 5 \nserver accepts\nReading: 0 Writing: 2 Waiting: 3 \n",
}


@pytest.fixture
def living_worker() -> Iterator[Worker]:
    """A process without sockets, as a worker of nginx that lives."""
    with subprocess.Popen(["sleep", "600"]) as process:
        after_name = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2]
        yield Worker(process.pid, int(after_name.split()[19]), boot_id())
        process.kill()


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
