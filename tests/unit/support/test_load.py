"""The load client counts what a client would call lost, against small servers that are rude in one way each."""

import contextlib
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.http_answer import NotHttpError, read_answer
from tests.support.load import EarlyBird, Load, SlowUpload
from tests.support.load_clients import Request
from tests.unit.support.conftest import ASK, OK, OK_CLOSE, Serve, Server, keep_answering, load, polite, request, reset


def test_every_request_is_answered_on_kept_connections(server: Callable[[Serve], Server]) -> None:
    result = load(server(polite).port, turns=200, busy=3, idle=2)
    assert (result.lost, result.losses) == (0, {})
    assert result.total == result.answered == result.statuses["200"] == result.revisions["r1"].count
    assert result.total >= 200
    assert result.connections == 5
    assert sum(row[1] for row in result.timeline) == result.answered
    seen = result.revisions["r1"]
    assert result.began <= seen.first <= seen.last <= result.ended
    assert seen.first <= seen.asked <= seen.last
    assert set(result.by_client) == {"busy", "idle"}


def test_a_reset_under_a_request_on_a_reused_connection(server: Callable[[Serve], Server]) -> None:
    def serve(sock: socket.socket, number: int) -> None:
        request(sock)
        sock.sendall(OK)
        request(sock)
        if number == 1:
            reset(sock)
            return
        sock.sendall(OK)
        polite(sock, number)

    result = load(server(serve).port, turns=20)
    assert result.losses == {"ended, reused connection": 1}
    assert result.connections == 2
    assert result.told[0]["client"] == "busy"


def test_a_reset_and_an_end_on_a_fresh_connection(server: Callable[[Serve], Server]) -> None:
    def serve(sock: socket.socket, number: int) -> None:
        request(sock)
        if number == 1:
            reset(sock)
        elif number > 2:
            sock.sendall(OK)
            polite(sock, number)

    result = load(server(serve).port, turns=20)
    assert result.losses == {"ended, fresh connection": 2}
    assert result.connections == 3


def test_an_answer_cut_in_its_body_is_lost(server: Callable[[Serve], Server]) -> None:
    def serve(sock: socket.socket, number: int) -> None:
        request(sock)
        if number > 1:
            sock.sendall(OK)
            polite(sock, number)
        else:
            sock.sendall(OK[:-1])

    result = load(server(serve).port, turns=20)
    assert result.losses == {"ended, fresh connection": 1}
    assert "after" in result.told[0]["detail"]


@pytest.mark.parametrize("end", [reset, lambda sock: sock.close()], ids=["reset", "end"])
def test_a_thinking_client_does_not_look_whether_it_was_closed(
    server: Callable[[Serve], Server], end: Callable[[socket.socket], None]
) -> None:
    def serve(sock: socket.socket, number: int) -> None:
        request(sock)
        sock.sendall(OK)
        if number == 1:
            end(sock)
        else:
            polite(sock, number)

    result = load(server(serve).port, turns=3, busy=0, idle=1, idle_seconds=0.1)
    assert result.losses == {"ended, reused connection": 1}
    assert result.by_client["idle"]["lost"] == 1


@pytest.mark.parametrize(("busy", "idle"), [(2, 0), (0, 2)], ids=["busy", "idle"])
def test_a_client_that_was_told_to_close_comes_back_on_a_fresh_connection(
    server: Callable[[Serve], Server], busy: int, idle: int
) -> None:
    def serve(sock: socket.socket, _number: int) -> None:
        request(sock)
        sock.sendall(OK_CLOSE)
        reset_after_reading(sock)

    result = load(server(serve).port, turns=10, busy=busy, idle=idle, idle_seconds=0.01)
    assert result.lost == 0
    assert result.connections >= result.total


def reset_after_reading(sock: socket.socket) -> None:
    """Wait for the client's close, so that the reset cannot overtake the answer."""
    sock.recv(1)
    reset(sock)


@pytest.mark.parametrize(
    ("status", "kind"), [("502 Bad Gateway", "5xx"), ("503 No", "5xx"), ("404 Not Found", "other status")]
)
def test_statuses(server: Callable[[Serve], Server], status: str, kind: str) -> None:
    def serve(sock: socket.socket, number: int) -> None:
        request(sock)
        sock.sendall(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode())
        polite(sock, number)

    result = load(server(serve).port, turns=20)
    assert result.losses == {kind: 1}
    assert result.statuses[status[:3]] == 1
    assert result.revisions["(not named)"].count == 1


def test_refused_connections_are_counted_and_not_hammered() -> None:
    with socket.socket() as bound:  # bound but not listening: refused, and nobody else gets it
        bound.bind(("127.0.0.1", 0))
        result = load(bound.getsockname()[1], turns=5)
    assert result.losses == {"refused": result.total}
    assert result.total < 15


def test_a_silent_server_is_a_timeout(server: Callable[[Serve], Server]) -> None:
    def serve(sock: socket.socket, number: int) -> None:
        request(sock)
        if number == 1:
            sock.recv(1)
        else:
            sock.sendall(OK)
            polite(sock, number)

    result = load(server(serve).port, turns=3, timeout=0.3)
    assert result.losses == {"timeout": result.total - result.answered}  # 1, unless the machine is busy


def test_no_request_is_sent_twice(server: Callable[[Serve], Server]) -> None:
    seen: list[bytes] = []

    def serve(sock: socket.socket, number: int) -> None:
        while data := sock.recv(len(ASK.content)):
            seen.append(data)
            if number == 1 and len(seen) == 3:
                reset(sock)
                return
            sock.sendall(OK)

    def numbered(_client: int, turn: int) -> Request:
        return Request(ASK.content[:-4] + b"%04d" % turn, f"key-{turn}")

    keys: list[str] = []
    result = load(server(serve).port, turns=20, ask=numbered, acknowledged=keys.append)
    assert len(seen) == len(set(seen)) == result.total
    assert len(keys) == result.answered
    assert "key-2" not in keys


def test_requests_under_way_at_the_end_are_waited_for(server: Callable[[Serve], Server]) -> None:
    asked: list[int] = []

    def serve(sock: socket.socket, number: int) -> None:
        while request(sock):
            asked.append(number)
            time.sleep(0.3)
            sock.sendall(OK)

    result = load(server(serve).port, turns=1, busy=3)
    assert (result.lost, result.answered) == (0, len(asked))


def test_a_server_that_ends_after_each_answer_without_saying_so(server: Callable[[Serve], Server]) -> None:
    def serve(sock: socket.socket, _number: int) -> None:
        request(sock)
        sock.sendall(OK)

    result = load(server(serve).port, turns=20)
    assert result.lost >= result.total // 2 - 1
    assert set(result.losses) == {"ended, reused connection"}


@pytest.mark.parametrize(
    ("text", "body"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200 OK\r\ncontent-length:2\r\n\r\nokmore", b"ok"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n1;x=y\r\n!\r\n0\r\n\r\n", b"ok!"),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", None),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n", None),
        (b"HTTP/1.1 200 OK\r\n\r\nok", None),
        (b"HTTP/1.1 200 OK\r\nContent-Le", None),
        (b"", None),
    ],
)
def test_answers_are_read_whole_or_not_at_all(text: bytes, body: bytes | None) -> None:
    answer = read_answer(text)
    assert (answer.body if answer else None) == body


def test_an_answer_without_length_ends_with_the_connection() -> None:
    answer = read_answer(b"HTTP/1.1 200 OK\r\n\r\nok", ended=True)
    assert answer is not None
    assert (answer.body, answer.closes) == (b"ok", True)


def test_bytes_that_are_no_http() -> None:
    with pytest.raises(NotHttpError):
        read_answer(b"SSH-2.0-x\r\n\r\n")


def test_a_load_process_tells_what_it_sees_and_gives_the_result(
    server: Callable[[Serve], Server], tmp_path: Path
) -> None:
    url, file = f"http://127.0.0.1:{server(keep_answering).port}/pay", tmp_path / "latencies"
    with Load(url, busy=2, idle=2, idle_seconds=0.02, latencies=file) as running:
        running.wait_for_revision("r1")
        before = running.so_far()["answered"]
        running.wait_for(lambda now: now["answered"] > before, 5, "more answers")
        result = running.stop()
    assert result.lost == 0, result
    assert result.answered > before
    assert result.revisions["r1"].count == result.answered
    answers = [tuple(map(float, line.split())) for line in file.read_text().splitlines()]
    assert len(answers) == result.answered
    assert all(result.began - 1 <= at <= result.ended + 1 and 0 <= seconds < 30 for at, seconds in answers)


def test_an_early_bird_is_answered_when_it_speaks_at_last(server: Callable[[Serve], Server]) -> None:
    bird = EarlyBird(f"http://127.0.0.1:{server(keep_answering).port}/")
    with contextlib.closing(bird):
        time.sleep(0.05)
        assert bird.send().revision == "r1"


def test_a_slow_upload_takes_its_time(server: Callable[[Serve], Server]) -> None:
    def serve(sock: socket.socket, _number: int) -> None:
        taken = 0
        while taken < 1000:
            taken += sock.recv(65536).count(b"x")
        sock.sendall(OK)

    began = time.monotonic()
    upload = SlowUpload(f"http://127.0.0.1:{server(serve).port}/", body_bytes=1000)
    upload.finish_after(0.5)
    assert upload.result(5).status == 200
    assert 0.5 <= time.monotonic() - began < 3


def test_a_slow_upload_that_is_cut_says_so(server: Callable[[Serve], Server]) -> None:
    def serve(sock: socket.socket, _number: int) -> None:
        sock.recv(100)
        reset(sock)

    upload = SlowUpload(f"http://127.0.0.1:{server(serve).port}/", body_bytes=1000)
    with pytest.raises(ConnectionError, match="was cut"):
        upload.result(5)
