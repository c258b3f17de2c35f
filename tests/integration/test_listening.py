"""Nothing of Conductor listens beyond loopback: a host with both kinds of ports, supervise and the status page."""

import contextlib
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.plan.listening import Listener, parse
from tests.support.aftermath import QUICK, nothing_left_behind
from tests.support.host import TestHost, merged
from tests.support.status_page import StatusPage

UDP_UNCONNECTED = "07"  # a UDP socket that receives from anybody


@pytest.fixture(scope="module", params=["reload", "live"])
def cutover(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def rows(protocol: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of the kernel's table that listen, with the inode of the socket."""
    state = "0A" if protocol == "tcp" else UDP_UNCONNECTED
    for name in (protocol, f"{protocol}6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == state:
                yield line.replace(f" {state} ", " 0A ", 1), words[9]  # `parse` reads only those of TCP


def listening(ours: str) -> dict[Listener, str]:
    """Return the sockets, with a command line, of the processes whose command line or directory matches `ours`."""
    inodes, found = dict(owners(re.compile(ours))), {}
    for protocol in ("tcp", "udp"):
        for line, inode in rows(protocol):
            if inode in inodes:
                found |= dict.fromkeys(parse(f"{line}\n"), inodes[inode])
    return found


def owners(ours: re.Pattern[str]) -> Iterator[tuple[str, str]]:
    """Yield the inodes of the sockets of these processes, and their command lines."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended
            command = (process / "cmdline").read_text(errors="replace").replace("\0", " ").strip()
            if not ours.search(command) and not ours.search(str((process / "cwd").readlink())):
                continue
            for handle in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if (target := str(handle.readlink())).startswith("socket:["):
                        yield target[8:-1], command


def test_nothing_listens_beyond_loopback(host: TestHost) -> None:
    low, high = host.claims.ports(6)
    host.define({"web": QUICK, "published": merged(QUICK, {"publish": [low, high]})})
    first = re.escape(host.subnet.rpartition(".")[0])
    # nginx and Conductor's processes name the directory, the proxies of Docker the address of the container.
    ours = rf"{re.escape(str(host.directory))}|docker-proxy .*-container-ip {first}\."
    assert {one.port for one in listening(ours)} == {host.nginx.own_port}
    supervise = host.spawn("supervise")
    page = StatusPage(host)
    for revision in ("r1", "r2"):
        host.upgrade(revision, "web", "--id", "published", check=True)
        found = listening(ours)
        assert [(str(one), command) for one, command in found.items() if not one.ip.is_loopback] == []
        # Without these, the test would look at the wrong processes.
        assert {host.port("web"), host.port("published"), page.port} <= {one.port for one in found}
        assert {one.port for one in found} & set(range(low, high + 1))
    private = host.runtime_dir / "nginx" / "private"
    assert private.stat().st_mode & 0o777 == 0o700
    assert any(path.is_socket() for path in private.iterdir())
    supervise.signal(signal.SIGTERM)
    assert supervise.wait().code == 0
    nothing_left_behind(host, "r2")
