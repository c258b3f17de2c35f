"""When an endpoint that accepts no connections fails."""

import pytest

from conductor.errors import ConductorError
from conductor.health.connections import FAILURES, INTERVAL_SECONDS, TIMEOUT_SECONDS, Connections


class Rounds:
    """Rounds whose outcome a test gives."""

    def __init__(self) -> None:
        self.changes = 0
        self.made = Connections(self._changed, lambda endpoints, _seconds: self.missed & frozenset(endpoints))
        self.missed: frozenset[str] = frozenset()
        self.made.watch(["a", "b"])

    def _changed(self) -> None:
        self.changes += 1

    def look(self, *missed: str) -> frozenset[str]:
        self.missed = frozenset(missed)
        self.made.look()
        return self.made.failing()


def test_an_endpoint_fails_after_two_missed_connections_in_a_row_and_recovers_with_one() -> None:
    rounds = Rounds()
    found = [rounds.look(*missed) for missed in (["a"], [], ["a"], ["a", "b"], ["a", "b"], ["b"], [])]
    assert found == [set(), set(), set(), {"a"}, {"a", "b"}, {"b"}, set()]
    assert rounds.changes == 4
    assert (INTERVAL_SECONDS + TIMEOUT_SECONDS) * FAILURES <= 4


def test_an_endpoint_that_is_watched_no_more_does_not_fail() -> None:
    rounds = Rounds()
    rounds.look("a")
    rounds.look("a")
    rounds.made.watch(["b"])
    assert rounds.look("a") == set()


def test_a_round_that_cannot_be_made_changes_nothing() -> None:
    def fail(_endpoints: object, _seconds: float) -> frozenset[str]:
        raise ConductorError("cannot connect to a: no file descriptors")

    rounds = Rounds()
    rounds.look("a")
    rounds.look("a")
    rounds.made._find_unaccepted = fail
    with pytest.raises(ConductorError):
        rounds.made.look()
    assert rounds.made.failing() == {"a"}
