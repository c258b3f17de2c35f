"""The sockets of the page: those that systemd opened, or one on a loopback address or a unix socket. No others are used."""

import contextlib
import ipaddress
import os
import socket
from pathlib import Path

from conductor.errors import ConductorError, UsageError

FIRST = 3  # file descriptor of systemd's sockets, sd_listen_fds(3)
BACKLOG = 128
Socket = socket.socket


def inherited() -> list[socket.socket]:
    """Return the sockets that systemd opened for this process."""
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return []
    count = int(os.environ.get("LISTEN_FDS", "0"))
    found = [socket.socket(fileno=number) for number in range(FIRST, FIRST + count)]
    for one in found:
        if one.family != socket.AF_UNIX:
            _require_loopback(one.getsockname()[0], "the socket from systemd")
    return found


def listener(address: str) -> socket.socket:
    """Return a socket that listens on `unix:PATH` or on `IP:PORT`, where the IP is a loopback address."""
    if address.startswith("unix:"):
        return _unix(Path(address.removeprefix("unix:")))
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    _require_loopback(host, f"--listen {address}")
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"cannot listen on {address}: expected IP:PORT or unix:PATH", "for example 127.0.0.1:9750")
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return _listening(made, (host, int(port)), address)


def _unix(path: Path) -> socket.socket:
    with contextlib.suppress(OSError):
        if path.is_socket() and not _is_in_use(path):
            path.unlink()
    return _listening(socket.socket(socket.AF_UNIX), str(path), f"unix:{path}")


def _is_in_use(path: Path) -> bool:
    """Return whether a process still listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True


def _listening(made: socket.socket, where: object, shown: str) -> socket.socket:
    try:
        made.bind(where)  # type: ignore[arg-type]  # a path, or a pair
        made.listen(BACKLOG)
    except OSError as error:
        made.close()
        raise ConductorError(f"cannot listen on {shown}: {error.strerror or error}") from error
    return made


def _require_loopback(host: str, what: str) -> None:
    """The page has no passwords: nginx in front of it has, and TLS."""
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    raise UsageError(
        f"cannot use {what}: the page listens only on a loopback address or a unix socket",
        "use 127.0.0.1:9750 or unix:PATH; for other hosts, let nginx listen, as in examples/nginx/status.conf",
    )
