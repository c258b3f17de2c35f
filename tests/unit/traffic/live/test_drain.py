"""A live drain, by what nginx counts."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from conductor.traffic.live.dictionary import Dictionary, InFlight, with_connection
from conductor.traffic.live.drain import LOST_SECONDS, wait_for_requests
from conductor.traffic.nginx import Nginx
from conductor.traffic.port import Draining
from conductor.traffic.processes import Worker, boot_id
from tests.fakes.runtime import FakeCancellation, FakeClock

OLD, OTHER = "10.0.0.2:80", "10.0.0.9:80"


class Counts:
    """Answers in turn, the last one for ever."""

    def __init__(self, *answers: Sequence[InFlight] | None) -> None:
        self._answers = list(answers)

    def requests(self) -> Sequence[InFlight] | None:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


def held(worker: Worker, address: str = OLD, requests: int = 1) -> InFlight:
    return InFlight(worker, "web", 17, address, requests)


def drain(
    *answers: Sequence[InFlight] | None, others: tuple[Worker, ...] = (), seconds: float = 10.0, master: bool = True
) -> tuple[int | None, float, list[Draining]]:
    """Return the requests left (None: unknown), how long it took, and what was reported."""
    clock, seen = FakeClock(), list[Draining]()
    left = wait_for_requests(
        cast("Dictionary", Counts(*answers)), {OLD}, others, lambda: master, seconds=seconds, clock=clock,
        cancellation=FakeCancellation(clock), progress=seen.append,
    )  # fmt: skip
    return left, clock.monotonic(), seen


def test_it_ends_with_the_last_request(living_worker: Worker) -> None:
    left, seconds, seen = drain([held(living_worker, requests=3)], [held(living_worker)], [held(living_worker, OTHER)])
    assert (left, [one.requests for one in seen]) == (0, [3, 1])
    assert seconds < 0.05


def test_without_requests_it_ends_at_once() -> None:
    assert drain([]) == (0, 0.0, [])


def test_counts_without_a_connection_are_not_waited_for(living_worker: Worker) -> None:
    left, seconds, _ = drain([held(living_worker, requests=3)])
    assert left == 0
    assert LOST_SECONDS < seconds < 2 * LOST_SECONDS


def test_workers_that_do_not_follow_are_drained_by_other_means(living_worker: Worker) -> None:
    assert drain([held(living_worker)], others=(living_worker,)) == (0, 0.0, [])


def test_a_killed_nginx_has_no_requests() -> None:
    assert drain(None, master=False) == (0, 0.0, [])


def test_an_nginx_that_does_not_answer_is_waited_for() -> None:
    left, seconds, _ = drain(None, None, [])
    assert (left, seconds > 0) == (0, True)
    assert drain(None)[:2] == (None, pytest.approx(10.0, abs=0.3))  # not 0: there may be requests


@pytest.fixture
def own_connection() -> tuple[socket.socket, socket.socket]:
    server = socket.create_server(("127.0.0.1", 0))
    return server, socket.create_connection(server.getsockname())


def test_a_request_with_a_connection_is_cut_at_the_deadline(
    own_connection: tuple[socket.socket, socket.socket],
) -> None:
    server, client = own_connection
    with server, client:
        after_name = Path("/proc/self/stat").read_text().rpartition(")")[2]
        worker = Worker(os.getpid(), int(after_name.split()[19]), boot_id())
        address = "{}:{}".format(*server.getsockname())
        assert with_connection([held(worker, address, 5), held(worker, OTHER)]) == [held(worker, address, 1)]


class Answering:
    """An nginx whose control socket answers this."""

    def __init__(self, status: int, text: str = "") -> None:
        self._answer = status, text
        self.status = self

    def request(self, _method: str, _path: str) -> tuple[int, str]:
        return self._answer

    def second_master(self) -> None:
        return None


def requests(status: int, text: str = "") -> list[InFlight] | None:
    return Dictionary(cast("Nginx", Answering(status, text))).requests()


def test_an_nginx_that_cannot_answer_may_have_requests_in_progress() -> None:
    """Without Conductor's Lua code, nginx answers 404."""
    assert (requests(500), requests(404), requests(200)) == (None, [], [])
