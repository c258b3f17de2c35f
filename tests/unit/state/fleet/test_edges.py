"""A command asks all edges, and goes on when each has answered: in many orders, with edges that are slow, frozen or killed."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.errors import ConductorError
from conductor.plan.edges import Confirmation, EdgeView, RouteAnswer, RouteRequest, RouteStep, confirmation
from conductor.plan.lease import RENEWAL_SECONDS, Lease
from conductor.state.fleet.edges import Edges
from conductor.state.fleet.leases import Leases
from conductor.state.fleet.locks import FleetLocks
from tests.fakes.objects import FakeObjects
from tests.fakes.turns import Turns, clock
from tests.unit.state.fleet.test_races import Waiting

EDGES = ("h1", "h2", "h3")
STEPS: tuple[RouteStep, ...] = ("gate", "cutover", "drain")
SEEDS = range(int(os.environ.get("CONDUCTOR_RACES", "40")))


DONE = RouteAnswer(id="c1.1")
FAILED = RouteAnswer(id="c1.1", error="no")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({}, Confirmation(EDGES, {}, ())),
        ({"h1": {"web": RouteAnswer(id="c1.0")}, "h4": {"web": DONE}}, Confirmation(EDGES, {}, ())),
        ({"h2": {"web": FAILED, "api": DONE}}, Confirmation(("h1", "h3"), {"h2": FAILED}, (FAILED, DONE))),
        ({"h1": {"web": DONE, "api": RouteAnswer(id="c1.0")}}, Confirmation(EDGES, {}, (DONE,))),
        (
            {name: {"web": RouteAnswer(id="c1.1", cut=cut), "api": DONE} for cut, name in enumerate(EDGES)},
            Confirmation(
                (), {}, (DONE, DONE, RouteAnswer(id="c1.1", cut=1), DONE, RouteAnswer(id="c1.1", cut=2), DONE)
            ),
        ),
    ],
)
def test_what_is_confirmed(answers: dict[str, dict[str, RouteAnswer]], expected: Confirmation) -> None:
    assert confirmation("c1.1", ("web", "api"), EDGES, answers) == expected


class Fleet:
    """Three edges, and a command on h1 that makes three steps with them."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.turns = Turns(seed)
        self.objects = FakeObjects(self.turns.turn)
        self.directory = directory
        self.made: list[tuple[str, str]] = []  # what each edge has done
        self.finished: list[tuple[str, int]] = []  # the steps that the command ended, and what the edges had done then
        self.error: ConductorError | None = None
        self.fails: dict[str, str] = {}
        for name in EDGES:
            self.turns.add(name, lambda name=name: self.edge(name), background=True)
        self.turns.add("deployer", self.deploy)
        self.turns.add("deployer", self.renew, background=True)
        self.leases = self._leases("h1")

    def _leases(self, name: str) -> Leases:
        like = Lease(token="", node=name, pid=1, command="upgrade", since="")
        return Leases(self.objects, clock(self.turns), like, in_background=False)

    def edges(self, leases: Leases) -> Edges:
        return Edges(self.objects, leases, clock(self.turns), Waiting(self.turns))

    def edge(self, name: str) -> None:
        edges, done = self.edges(self._leases(name)), ""
        while True:
            for service, request in edges.see(name).requests.items():
                if request.id != done:
                    self.turns.turn(self.turns.random.uniform(0.1, 0.5))
                    self.made.append((name, request.step))
                    answer = RouteAnswer(id=request.id, error=self.fails.get(request.step, ""))
                    edges.confirm(name, {service: answer}, EdgeView())
                    done = request.id
            self.turns.turn(1.0)

    def renew(self) -> None:
        while True:
            self.turns.turn(RENEWAL_SECONDS)
            self.leases.renew()

    def deploy(self) -> None:
        locks = FleetLocks(self.directory, "upgrade", clock(self.turns), Waiting(self.turns), self.leases)
        edges = self.edges(self.leases)
        try:
            with locks.hold("web"):
                for number, step in enumerate(STEPS):
                    edges.request({"web": RouteRequest(id=f"c1.{number}", step=step)}, EDGES, 20.0)
                    self.finished.append((step, len(self.made)))
        except ConductorError as error:
            self.error = error


@pytest.fixture
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@pytest.mark.parametrize("seed", SEEDS)
def test_each_step_waits_for_every_edge(seed: int, directory: Path) -> None:
    fleet = Fleet(seed, directory)
    fleet.turns.frozen["h3"] = 10.0
    fleet.turns.run()
    assert fleet.error is None
    assert fleet.finished == [("gate", 3), ("cutover", 6), ("drain", 9)]
    assert sorted(fleet.made) == sorted((name, step) for name in EDGES for step in STEPS)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_edge_that_was_killed_is_named(seed: int, directory: Path) -> None:
    fleet = Fleet(seed, directory)
    fleet.turns.killed.add("h2")
    fleet.turns.run()
    assert fleet.finished == []
    assert fleet.error is not None
    assert fleet.error.sentence == "cannot check the new replicas of web: edge h2 did not confirm this step"
    assert "--without-edge h2" in fleet.error.hint


def test_an_edge_that_fails_is_named_with_its_error(directory: Path) -> None:
    fleet = Fleet(1, directory)
    fleet.fails["cutover"] = "nginx is not running"
    fleet.turns.run()
    assert [step for step, _ in fleet.finished] == ["gate"]
    assert fleet.error is not None
    assert fleet.error.sentence.startswith("cannot switch nginx for web: edge")
    assert fleet.error.details[0].endswith(": nginx is not running")


def test_an_answer_is_written_only_once(directory: Path) -> None:
    fleet = Fleet(1, directory)
    objects = FakeObjects()
    edges = Edges(objects, Leases(objects, clock(fleet.turns), Lease(token="", node="", pid=1, command="", since="")),
                  clock(fleet.turns), Waiting(fleet.turns))  # fmt: skip
    answer = RouteAnswer(id="c1.1", cut=1)
    for service in ("web", "api", "web"):
        edges.confirm("h1", {service: answer}, EdgeView(known=("a:80", "b:80")))
    assert objects.writes == 2
    seen = edges.see("h1")
    assert (seen.requests, seen.answers, seen.view.known) == ({}, {"web": answer, "api": answer}, ("a:80", "b:80"))
    assert (edges.see("h2").answers, edges.known()) == ({}, {"a:80", "b:80"})
    edges.confirm("h1", {}, EdgeView())
    assert (edges.known(), edges.see("h1").answers) == (frozenset(), {"web": answer, "api": answer})
