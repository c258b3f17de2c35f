"""Which requests on a connection that has ended are lost, and which its client had not used for as long as a reload is announced."""

import socket
import threading
import time
from collections.abc import Callable

import pytest

from tests.support.load import Load
from tests.support.load_clients import Request
from tests.unit.support.conftest import ASK, OK, OK_CLOSE, Serve, Server, keep_answering, load, polite, request


def answer_once(sock: socket.socket, number: int) -> None:
    """Answer one request on the first connection, and all on the others."""
    request(sock)
    sock.sendall(OK)
    if number > 1:
        polite(sock, number)


@pytest.mark.parametrize(
    ("announce", "lost", "idle_longer"), [(None, 1, 0), (0.0, 1, 0), (30.0, 1, 0), (0.05, 0, 1)],
    ids=["unknown", "no announce", "idle for less", "idle for longer"],
)  # fmt: skip
def test_only_a_client_that_was_idle_for_the_announce_is_counted_apart(
    server: Callable[[Serve], Server], announce: float | None, lost: int, idle_longer: int
) -> None:
    result = load(server(answer_once).port, turns=3, busy=0, idle=1, idle_seconds=0.1, announce=announce)
    assert (result.lost, result.idle_longer) == (lost, idle_longer)
    assert result.total == result.answered + 1
    assert f"), {lost} lost" in str(result)
    assert ("1 idle longer than the announce" in str(result)) == bool(idle_longer)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(OK[:-1], "ended, reused connection"), (b"no HTTP", "ended, reused connection"), (OK_CLOSE.replace(b"200", b"502"), "5xx")],
)  # fmt: skip
def test_an_answer_that_is_cut_or_wrong_is_lost_however_long_the_client_was_idle(
    server: Callable[[Serve], Server], answer: bytes, kind: str
) -> None:
    def serve(sock: socket.socket, number: int) -> None:
        request(sock)
        sock.sendall(OK)
        request(sock)
        sock.sendall(OK if number > 1 else answer)
        if number > 1:
            polite(sock, number)

    result = load(server(serve).port, turns=5, busy=0, idle=1, idle_seconds=0.1, announce=0.05)
    assert (result.losses, result.idle_longer) == ({kind: 1}, 0)


def test_a_request_that_the_server_has_read_is_lost_however_long_the_client_was_idle(
    server: Callable[[Serve], Server],
) -> None:
    def serve(sock: socket.socket, number: int) -> None:
        answer_once(sock, number)
        if number == 1:
            request(sock)
            sock.close()

    result = load(server(serve).port, turns=5, busy=0, idle=1, idle_seconds=0.1, announce=0.05)
    assert (result.losses, result.idle_longer) == ({"ended, reused connection": 1}, 0)


def test_a_client_that_waits_for_the_processor_is_idle(server: Callable[[Serve], Server]) -> None:
    """Its answer has arrived, but it reads the answer only after the announce."""
    starved, closed = threading.Event(), threading.Event()

    def serve(sock: socket.socket, number: int) -> None:
        request(sock)
        if number == 1:
            starved.wait(10)
        sock.sendall(OK)
        if number == 1:
            sock.close()
            closed.set()
        else:
            polite(sock, number)

    def ask(client: int, turn: int) -> Request:
        if (client, turn) == (1, 1):
            starved.set()
            assert closed.wait(10)
            time.sleep(0.2)
        return ASK

    result = load(server(serve).port, turns=20, busy=2, ask=ask, announce=0.1)
    assert (result.lost, result.idle_longer) == (0, 1)


def test_a_load_process_gets_the_announce(server: Callable[[Serve], Server]) -> None:
    def serve(sock: socket.socket, number: int) -> None:
        sock.recv(65536)
        sock.sendall(OK)
        if number > 1:
            keep_answering(sock, number)

    url = f"http://127.0.0.1:{server(serve).port}/"
    with Load(url, busy=0, idle=1, idle_seconds=0.1, announce=0.05) as running:
        running.wait_for(lambda now: now["answered"] > 1, 10, "an answer after the loss")
        result = running.stop()
    assert (result.lost, result.idle_longer) == (0, 1)
