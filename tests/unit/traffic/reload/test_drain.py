"""What the sockets of an old worker say: a table of the cases of PITFALLS 3."""

import pytest

from conductor.traffic.reload.drain import look
from conductor.traffic.reload.processes import Connection

OLD, OTHER = "10.0.0.2:80", "10.0.0.9:80"
CLIENT = Connection(443, "192.0.2.1:5000")
TO_OLD, TO_OTHER = Connection(40001, OLD), Connection(40002, OTHER)


@pytest.mark.parametrize(
    ("connections", "to_old", "silent", "harmless"),
    [
        pytest.param([], 0, 0, True, id="nothing-left"),
        pytest.param([CLIENT, TO_OTHER], 0, 0, True, id="websocket-of-another-service"),
        pytest.param([CLIENT, TO_OLD], 1, 0, False, id="request-with-an-old-container"),
        pytest.param([CLIENT], 0, 1, False, id="client-that-may-still-send"),
        pytest.param([CLIENT, CLIENT, TO_OTHER], 0, 1, False, id="one-tied-one-free"),
        pytest.param([TO_OLD], 1, 0, False, id="upstream-without-client"),
    ],
)
def test_look(connections, to_old, silent, harmless):
    assert look(connections, {443}, {OLD}) == (to_old, silent, harmless)


def test_without_known_ports_nothing_is_harmless():
    assert not look((), set(), {OLD}).harmless
