"""Managers that change one service at the same time, in many orders, some of them killed, frozen or without a leader.

A change here writes a journal, counts, and removes the journal. Whoever takes over a journal counts it as recovered.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.errors import BusyError, ConductorError
from conductor.plan.lease import LEASE_SECONDS, RENEWAL_SECONDS, Lease, LeaseLostError, lease_of
from conductor.state.fleet.leases import Leases
from conductor.state.fleet.locks import FleetLocks
from conductor.state.fleet.objects import StoredObject
from tests.fakes.objects import FakeObjects
from tests.fakes.runtime import FakeCancellation
from tests.fakes.turns import Turns, clock

MANAGERS = ("h1", "h2", "h3")
STEPS = 6  # of a change, each a second
SEEDS = range(int(os.environ.get("CONDUCTOR_RACES", "15")))


class Waiting(FakeCancellation):
    """Waits on the clock of the threads."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self._turns = turns

    def check(self) -> None:
        """No signal arrives."""

    def wait(self, seconds: float) -> None:
        self._turns.turn(seconds)


class Fleet:
    """Three managers, each of which makes `changes` changes."""

    def __init__(self, seed: int, directory: Path, changes: int = 3) -> None:
        self.turns = Turns(seed)
        self.objects = Watched(self.turns)
        self.counts: Counter[str] = Counter()
        self.done_at: dict[str, float] = {}
        self._directory = directory
        self._changes = changes
        for name in MANAGERS:
            self.manager(name)

    def manager(self, name: str) -> None:
        now = clock(self.turns)
        like = Lease(token="", node=name, pid=1, command="upgrade", since="")
        leases = Leases(self.objects, now, like, in_background=False)
        locks = FleetLocks(self._directory, "upgrade", now, Waiting(self.turns), leases)
        self.turns.add(name, lambda: self.changes(name, locks, leases))
        self.turns.add(name, lambda: self.renewals(leases), background=True)

    def renewals(self, leases: Leases) -> None:
        while True:
            self.turns.turn(RENEWAL_SECONDS)
            leases.renew()

    def changes(self, name: str, locks: FleetLocks, leases: Leases) -> None:
        for number in range(self._changes):
            try:
                with locks.hold("web", 1000.0):
                    self.change(f"{name}-{number}", leases)
                    self.counts["done"] += 1
            except LeaseLostError:
                self.counts["lost"] += 1
            except ConductorError:
                assert self.objects.away_from
                self.counts["unavailable"] += 1
        self.done_at[name] = self.turns.now

    def change(self, change: str, leases: Leases) -> None:
        values = leases.values("web")
        if values.get("journal"):
            self.counts["recovered"] += 1
            leases.write("web", {"journal": "", "count": values.get("count", "")})
        leases.write("web", {"journal": change})
        for _ in range(STEPS):
            self.turns.turn(self.turns.random.uniform(0.5, 1.5))
            values = leases.values("web")
            leases.write("web", {"step": change})
        count = int(values.get("count") or 0)
        leases.write("web", {"count": str(count + 1), "journal": ""})
        self.counts["counted"] += 1


class Watched(FakeObjects):
    """Checks at each write that only the process with the lease changes anything else."""

    def __init__(self, turns: Turns) -> None:
        super().__init__(self.during)
        self.turns = turns
        self.away_from: tuple[float, float] | None = None

    def during(self) -> None:
        self.turns.turn()
        self.away = self.away_from is not None and self.away_from[0] <= self.turns.now < self.away_from[1]

    def write(self, found: StoredObject, values: dict[str, str]) -> bool:  # type: ignore[override]
        before = lease_of(found.values)
        written = super().write(found, values)
        if written and {**values, "lock": "", "waiter": ""} != {**found.values, "lock": "", "waiter": ""}:
            assert before is not None
            assert before.node == self.turns.process()
        return written

    @property
    def web(self) -> dict[str, str]:
        """What is stored in the end."""
        return dict(self._objects["web"].values)


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@pytest.mark.parametrize("seed", SEEDS)
def test_one_after_the_other(seed: int, directory: Path) -> None:
    fleet = Fleet(seed, directory)
    fleet.turns.run()
    assert fleet.counts == {"done": 9, "counted": 9}
    assert fleet.objects.web == {"count": "9", "step": fleet.objects.web["step"]}


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_manager_is_recovered_by_another(seed: int, directory: Path) -> None:
    fleet = Fleet(seed, directory)
    at = fleet.turns.random.uniform(0.0, 20.0)

    def kill() -> None:
        fleet.turns.turn(at)
        fleet.turns.killed.add("h1")

    fleet.turns.add("operator", kill)
    fleet.turns.run()
    count = int(fleet.objects.web["count"])
    assert fleet.counts["lost"] == 0
    assert fleet.counts["recovered"] <= 1
    assert "journal" not in fleet.objects.web
    assert count in {
        fleet.counts["counted"],
        fleet.counts["counted"] + 1,
    }  # it may have been killed just after its write
    assert count >= 6
    longest = 9 * STEPS * 1.5 + at + LEASE_SECONDS + 3
    assert max(fleet.done_at.values()) < longest


@pytest.mark.parametrize("seed", SEEDS)
def test_a_manager_that_is_frozen_loses_its_lease_and_changes_nothing_afterwards(seed: int, directory: Path) -> None:
    fleet = Fleet(seed, directory)
    at, seconds = fleet.turns.random.uniform(0.0, 20.0), fleet.turns.random.uniform(3.0, 15.0)

    def freeze() -> None:
        fleet.turns.turn(at)
        fleet.turns.frozen["h1"] = fleet.turns.now + seconds

    fleet.turns.add("operator", freeze)
    fleet.turns.run()
    assert fleet.counts["lost"] <= 1
    assert fleet.counts["recovered"] == fleet.counts["lost"]
    assert fleet.counts["done"] == 9 - fleet.counts["lost"]
    assert fleet.objects.web["count"] == str(fleet.counts["counted"])
    assert "journal" not in fleet.objects.web


@pytest.mark.parametrize("seed", SEEDS)
def test_while_there_is_no_leader_no_lease_expires(seed: int, directory: Path) -> None:
    fleet = Fleet(seed, directory)
    at = fleet.turns.random.uniform(0.0, 20.0)
    fleet.objects.away_from = (at, at + 20.0)
    fleet.turns.run()
    assert fleet.counts["lost"] == 0
    assert int(fleet.objects.web.get("count", 0)) == fleet.counts["counted"]


@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_wait_one_wins_and_the_other_learns_who(seed: int, directory: Path) -> None:
    turns = Turns(seed)
    objects, won, busy = Watched(turns), [], []

    def deploy(name: str) -> None:
        leases = made[name]
        locks = FleetLocks(directory, "upgrade", clock(turns), Waiting(turns), leases)
        try:
            with locks.hold("web"):
                won.append(name)
                turns.turn(30.0)
        except BusyError as error:
            busy.append((name, error.holder and error.holder.node, turns.now))

    def renew(name: str) -> None:
        while True:
            turns.turn(RENEWAL_SECONDS)
            made[name].renew()

    made = {
        name: Leases(
            objects, clock(turns), Lease(token="", node=name, pid=1, command="upgrade", since=""), in_background=False
        )
        for name in MANAGERS[:2]
    }
    for name in made:
        turns.add(name, lambda name=name: deploy(name))
        turns.add(name, lambda name=name: renew(name), background=True)
    turns.run()
    [winner], [(loser, named, at)] = won, busy
    assert {winner, loser} == {"h1", "h2"}
    assert named == winner
    assert at < 3.0


@pytest.mark.parametrize("seed", SEEDS)
def test_without_a_wait_the_lock_of_a_killed_process_is_taken(seed: int, directory: Path) -> None:
    turns = Turns(seed)
    objects, took = Watched(turns), []

    def locks(name: str) -> FleetLocks:
        like = Lease(token="", node=name, pid=1, command="upgrade", since="")
        leases = Leases(objects, clock(turns), like, in_background=False)
        return FleetLocks(directory, "upgrade", clock(turns), Waiting(turns), leases)

    def first() -> None:
        with locks("h1").hold("web"):
            turns.turn(1.0)
            turns.killed.add("h1")
            turns.turn()

    def second() -> None:
        turns.turn(2.0)
        with locks("h2").hold("web"):
            took.append(turns.now)

    turns.add("h1", first)
    turns.add("h2", second)
    turns.run()
    [at] = took
    assert 2.0 + LEASE_SECONDS <= at < 2.0 + LEASE_SECONDS + 2.0
