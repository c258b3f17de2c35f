"""What the sockets of an old worker prove, and drains of workers that live or have exited."""

import pytest

from conductor.traffic.port import Drained
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


def test_workers_that_have_exited_are_drained_at_once(own_process: Worker) -> None:
    gone = own_process._replace(started=own_process.started + 1)
    assert drain(gone, seconds=10.0) == (Drained(), 0.0)
    assert drain(seconds=10.0) == (Drained(), 0.0)


def test_a_living_worker_without_connections_is_harmless_after_a_while(own_process: Worker) -> None:
    drained, seconds = drain(own_process, seconds=10.0)
    assert drained == Drained()
    assert INSPECT_SECONDS < seconds < 3 * INSPECT_SECONDS


def test_a_living_worker_whose_sockets_prove_nothing_is_waited_for_until_the_deadline(own_process: Worker) -> None:
    drained, seconds = drain(own_process, seconds=10.0, inspectable=False)
    assert drained == Drained(cut=0, silent=0)
    assert 10.0 <= seconds < 11.0
