"""When an endpoint that accepts no connections fails."""

from collections.abc import Collection

import pytest

from conductor.errors import ConductorError
from conductor.health.connections import FAILURES, INTERVAL_SECONDS, TIMEOUT_SECONDS, Connections


class Rounds:
    """Rounds whose outcome a test gives."""

    def __init__(self) -> None:
        self.changes = 0
        self.made = Connections(self._changed, self._unaccepted)
        self.missed: frozenset[str] = frozenset()
        self.tried: list[set[str]] = []
        self.made.watch(["a:1", "b:1"])

    def _changed(self) -> None:
        self.changes += 1

    def _unaccepted(self, endpoints: Collection[str], _seconds: float) -> frozenset[str]:
        self.tried.append(set(endpoints))
        return self.missed & frozenset(endpoints)

    def look(self, *missed: str) -> frozenset[str]:
        self.missed = frozenset(missed)
        self.made.look()
        return self.made.failing()


def test_an_endpoint_fails_after_two_missed_connections_in_a_row_and_recovers_with_one() -> None:
    rounds = Rounds()
    found = [rounds.look(*missed) for missed in (["a:1"], [], ["a:1"], ["a:1", "b:1"], ["a:1", "b:1"], ["b:1"], [])]
    assert found == [set(), set(), set(), {"a:1"}, {"a:1", "b:1"}, {"b:1"}, set()]
    assert rounds.changes == 4
    assert (INTERVAL_SECONDS + TIMEOUT_SECONDS) * FAILURES <= 4


def test_an_endpoint_that_is_watched_no_more_does_not_fail() -> None:
    rounds = Rounds()
    rounds.look("a:1")
    rounds.look("a:1")
    rounds.made.watch(["b:1"])
    assert rounds.look("a:1") == set()


def test_one_endpoint_of_each_host_is_tried_in_turn_and_all_of_one_that_is_lost() -> None:
    rounds = Rounds()
    lost = ["a:1", "a:2", "a:3"]
    rounds.made.watch([*lost, "b:1"])
    healthy = [rounds.look() for _ in range(3)]
    assert healthy == [set()] * 3
    assert [len(one) for one in rounds.tried] == [2] * 3
    assert set.union(*rounds.tried) == {*lost, "b:1"}
    found = [rounds.look(*lost), rounds.look(*lost)]
    assert found == [set(), set(lost)]
    assert rounds.look() == set()


def test_the_others_of_a_host_whose_endpoint_is_missed_do_not_fail_with_it() -> None:
    rounds = Rounds()
    rounds.made.watch(["a:1", "a:2"])
    found = [rounds.look("a:1") for _ in range(4)]
    assert found[-1] == {"a:1"}
    assert all(one <= {"a:1"} for one in found)


def test_one_missed_connection_beside_a_replica_that_is_down_is_no_failure() -> None:
    rounds = Rounds()
    rounds.made.watch(["a:1", "a:2"])
    while "a:1" not in rounds.look("a:1"):
        pass
    found = [rounds.look("a:1", *missed) for missed in ([], ["a:2"], [], ["a:2"])]
    assert found == [{"a:1"}] * 4


def test_a_round_that_cannot_be_made_changes_nothing() -> None:
    def fail(_endpoints: object, _seconds: float) -> frozenset[str]:
        raise ConductorError("cannot connect to a:1: no file descriptors")

    rounds = Rounds()
    rounds.look("a:1")
    rounds.look("a:1")
    rounds.made._find_unaccepted = fail
    with pytest.raises(ConductorError):
        rounds.made.look()
    assert rounds.made.failing() == {"a:1"}
