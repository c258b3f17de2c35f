"""What the sockets of an old worker prove, and drains of workers that live or have exited."""

import itertools

import pytest

from conductor.traffic.port import Drained, Draining
from conductor.traffic.processes import TcpConnection, Worker
from conductor.traffic.reload.drain import INSPECT_SECONDS, WorkerSockets, inspect, wait_until_drained
from tests.fakes.runtime import FakeCancellation, FakeClock

OLD, OTHER = "10.0.0.2:80", "10.0.0.9:80"
CLIENT = TcpConnection(443, "192.0.2.1:5000")
TO_OLD, TO_OTHER = TcpConnection(40001, OLD), TcpConnection(40002, OTHER)


@pytest.mark.parametrize(
    ("connections", "unix", "expected"),
    [
        pytest.param([], False, WorkerSockets(0, 0, harmless=True), id="no connection"),
        pytest.param([CLIENT, TO_OTHER], False, WorkerSockets(0, 0, harmless=True), id="WebSocket of another service"),
        pytest.param([CLIENT, TO_OLD], False, WorkerSockets(1, 0, harmless=False), id="request with an old replica"),
        pytest.param([CLIENT], False, WorkerSockets(0, 1, harmless=False), id="client that may still send a request"),
        pytest.param(
            [CLIENT, CLIENT, TO_OTHER], False, WorkerSockets(0, 1, harmless=False), id="one of two clients has a request"
        ),
        pytest.param([TO_OLD], False, WorkerSockets(1, 0, harmless=False), id="upstream connection without a client"),
        pytest.param(
            [CLIENT, TO_OTHER], True, WorkerSockets(0, 0, harmless=False), id="a client on a unix socket proves nothing"
        ),
    ],
)  # fmt: skip
def test_inspect(connections: list[TcpConnection], unix: bool, expected: WorkerSockets) -> None:
    assert inspect(connections, {443}, {OLD}, unix=unix) == expected


def test_without_known_ports_no_worker_is_harmless() -> None:
    assert not inspect((), set(), {OLD}).harmless


def drain(*workers: Worker, seconds: float, inspectable: bool = True) -> tuple[Drained, float]:
    """Drain workers without connections; return the result and the seconds that it took."""
    clock = FakeClock()
    drained = wait_until_drained(
        workers, {443}, {OLD}, inspectable=inspectable, seconds=seconds, clock=clock,
        cancellation=FakeCancellation(clock), progress=lambda _text: None,
    )  # fmt: skip
    return drained, clock.monotonic()


def test_workers_that_have_exited_are_drained_at_once(living_worker: Worker) -> None:
    gone = living_worker._replace(started=living_worker.started + 1)
    assert drain(gone, seconds=10.0) == (Drained(), 0.0)
    assert drain(seconds=10.0) == (Drained(), 0.0)


def test_a_living_worker_without_connections_is_harmless_after_a_while(living_worker: Worker) -> None:
    drained, seconds = drain(living_worker, seconds=10.0)
    assert drained == Drained()
    assert INSPECT_SECONDS < seconds < 3 * INSPECT_SECONDS


def test_a_drain_reports_what_is_left(living_worker: Worker) -> None:
    clock, found = FakeClock(), list[tuple[float, Draining]]()
    wait_until_drained(
        [living_worker], {443}, {OLD}, inspectable=False, seconds=10.0, clock=clock,
        cancellation=FakeCancellation(clock), progress=lambda now: found.append((clock.monotonic(), now)),
    )  # fmt: skip
    assert found[0] == (0.0, Draining(requests=0, connections=0, workers=1, seconds_left=10))
    for at, now in found:
        assert 10 - at <= now.seconds_left < 11 - at
    assert max(later - at for (at, _), (later, _) in itertools.pairwise(found)) < 1.0


@pytest.mark.parametrize(
    ("draining", "text"),
    [
        (
            Draining(requests=1, connections=0, workers=2, seconds_left=27),
            "27s left, 1 request to old replicas, 0 idle connections, 2 old nginx workers",
        ),
        (
            Draining(requests=2, connections=1, workers=1, seconds_left=90),
            "1m30s left, 2 requests to old replicas, 1 idle connection, 1 old nginx worker",
        ),
    ],
)
def test_what_is_left_as_text(draining: Draining, text: str) -> None:
    assert str(draining) == text


def test_a_living_worker_whose_sockets_prove_nothing_is_waited_for_until_the_deadline(living_worker: Worker) -> None:
    drained, seconds = drain(living_worker, seconds=10.0, inspectable=False)
    assert drained == Drained(cut=0, silent=0)
    assert 10.0 <= seconds < 11.0
