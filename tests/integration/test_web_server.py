"""Connections to the server whose clients do nothing, read nothing, or stay open for good reason."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from conductor.snapshot.published import Published
from conductor.web.listeners import listener
from conductor.web.server import server
from tests.unit.web.conftest import Site

IDLE_SECONDS = 1
GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The socket of a server, of which one page has more bytes than the kernel buffers."""
    site = Site(tmp_path)

    def large(document: Published) -> Published:
        return msgspec.structs.replace(document, definitions={"web": "x" * 8_000_000})

    site.publish(large)
    made, path = server(site.path, IDLE_SECONDS), f"{tmp_path}/web.sock"
    thread = threading.Thread(target=made.run, args=([listener(f"unix:{path}")],))
    thread.start()
    yield path
    made.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def test_a_client_that_does_nothing_loses_its_connection_and_a_live_page_does_not(address: str) -> None:
    with contextlib.ExitStack() as stack:

        def opened(sent: bytes) -> socket.socket:
            made = stack.enter_context(socket.socket(socket.AF_UNIX))
            made.settimeout(10)
            made.connect(address)
            made.sendall(sent)
            return made

        live = opened(GET % b"/events")
        ended = [opened(b""), opened(b"GET / HT"), opened(GET % b"/page.css" + b"GET / HT")]
        unread = opened(GET % b"/services/web")
        for one in ended:
            while one.recv(1 << 16):
                pass
        hung_up = select.poll()
        hung_up.register(unread, 0)
        assert hung_up.poll(10_000), "it was closed although it has not been read"
        assert received(unread) < 8_000_000, "the rest was dropped"
        assert (
            received(opened(GET % b"/services/web" + b"GET /page.css HTTP/1.0\r\nHost: localhost\r\n\r\n")) > 8_000_000
        )
        live.setblocking(False)
        assert live.recv(1 << 16)
        with pytest.raises(BlockingIOError):
            live.recv(1 << 16)


def received(connection: socket.socket) -> int:
    """Return the number of bytes until the end of a connection."""
    count = 0
    with contextlib.suppress(ConnectionError):
        while data := connection.recv(1 << 16):
            count += len(data)
    return count
