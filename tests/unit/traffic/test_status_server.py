"""Conductor's own server in nginx: what is known from its answers, and without any."""

from pathlib import Path

import pytest

from conductor.traffic.status_server import StatusServer


@pytest.fixture
def server(tmp_path: Path) -> StatusServer:
    return StatusServer(tmp_path / "status.sock", tmp_path)


def test_the_status_server_shows_generation_worker_flag_and_clients(
    server: StatusServer, answers: dict[str, str]
) -> None:
    assert server.generation() == "0123456789abcdef"
    assert server.answering() == ("0123456789abcdef", 77)
    assert (server.announced(), server.clients()) == (True, (2, 3))
    answers["/announced"] = "0"
    assert server.announced() is False


def test_without_a_status_server_nothing_is_known(server: StatusServer) -> None:
    assert (server.generation(), server.answering(), server.announced(), server.clients()) == (None, None, None, None)


def test_a_status_server_with_other_answers_shows_nothing(server: StatusServer, answers: dict[str, str]) -> None:
    answers.clear()
    assert (server.generation(), server.answering(), server.announced(), server.clients()) == (None, None, None, None)
