"""Every fault at every call: whatever fails, and wherever the process is killed, the old or the new release serves.

Each scenario runs once to count its calls of the runtime, the traffic layer and the state files. Then it runs once for each
of them: with an error there, before or after the call takes effect; and killed there, with a recovery by another process.
"""

import contextlib
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conductor.change import actions
from conductor.change.retiring import clean_up_retiring
from conductor.errors import ConductorError, LockYielded
from conductor.output.events import Finished
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.journal import Journal
from conductor.plan.release import Wanted
from conductor.state.history import History
from conductor.state.store import Store
from tests.fakes.runtime import Behaviour
from tests.fakes.world import WEB, WORKER, Recorder, World

CRON = {**WEB, "cron": {"generate": ["bin/generate-cron"]}}
READS = {
    "containers",
    "image",
    "inspect",
    "used_addresses",
    "environment",
    "logs",
    "logs_since",
    "read_log",
    "check_ports",
    "check_networks",
}


@dataclass(frozen=True)
class Scenario:
    """Definitions, what is deployed before, and the action. `old` and `new` are the replicas by revision of each service."""

    services: dict[str, dict[str, Any]]
    act: Callable[[World], Finished]
    new: dict[str, dict[str, int]]
    old: dict[str, dict[str, int]] = field(default_factory=lambda: {"web": {"r1": 2}})
    prepare: Callable[[World], object] = lambda world: world.upgrade("r1")


def deployed_twice(world: World) -> None:
    world.upgrade("r1")
    world.upgrade("r2")


def maintained(world: World) -> None:
    world.upgrade("r1")
    world.perform(actions.maintenance_on("x"))


def live(world: World) -> None:
    services = {one.id: dict(one.written) for one in world.definitions.services.values()}
    world.define(services, nginx={"cutover": "live"})
    world.upgrade("r1")


CANARY = {"web": {**WEB, "canary": {"for": "1s"}}}
BOTH = {"web": WEB, "worker": WORKER}
CLOCK = {"clock": {**WORKER, "order": "stop-first"}}
SCENARIOS = {
    "first deploy": Scenario({"web": WEB}, lambda w: w.upgrade("r1"), {"web": {"r1": 2}}, {"web": {}}, lambda w: None),
    "upgrade": Scenario({"web": WEB}, lambda w: w.upgrade("r2"), {"web": {"r2": 2}}),
    "canary": Scenario(CANARY, lambda w: w.upgrade("r2"), {"web": {"r2": 2}}, prepare=live),
    "canary of one of two services": Scenario(
        {**CANARY, "worker": WORKER}, lambda w: w.upgrade("r2"), {"web": {"r2": 2}, "worker": {"r2": 1}},
        {"web": {"r1": 2}, "worker": {"r1": 1}}, live,
    ),
    "two services": Scenario(
        BOTH, lambda w: w.upgrade("r2"), {"web": {"r2": 2}, "worker": {"r2": 1}}, {"web": {"r1": 2}, "worker": {"r1": 1}}
    ),
    "stop-first": Scenario(CLOCK, lambda w: w.upgrade("r2"), {"clock": {"r2": 1}}, {"clock": {"r1": 1}}),
    "stop-first with before_stop": Scenario(
        {"clock": {**CLOCK["clock"], "before_stop": {"command": ["bin/quiet"]}}}, lambda w: w.upgrade("r2"),
        {"clock": {"r2": 1}}, {"clock": {"r1": 1}},
    ),
    "stop-first with traffic": Scenario(
        {"web": {**WEB, "count": 1, "order": "stop-first"}}, lambda w: w.upgrade("r2"), {"web": {"r2": 1}},
        {"web": {"r1": 1}},
    ),
    "hook": Scenario(
        {"web": {**WEB, "before_upgrade": {"command": ["bin/migrate"]}}}, lambda w: w.upgrade("r2"), {"web": {"r2": 2}}
    ),
    "crontab": Scenario({"web": CRON}, lambda w: w.upgrade("r2"), {"web": {"r2": 2}}),
    "before_stop": Scenario(
        {"web": {**WORKER, "before_stop": {"command": ["bin/quiet"]}}}, lambda w: w.upgrade("r2"), {"web": {"r2": 1}},
        {"web": {"r1": 1}},
    ),
    "not waited for": Scenario(
        {"web": {**WEB, "stop": {"wait": False}, "before_stop": {"command": ["bin/quiet"]}}}, lambda w: w.upgrade("r2"),
        {"web": {"r2": 2}},
    ),
    "worker": Scenario({"web": WORKER}, lambda w: w.upgrade("r2"), {"web": {"r2": 1}}, {"web": {"r1": 1}}),
    "rollback": Scenario(
        {"web": WEB}, lambda w: w.perform(actions.rollback(None)), {"web": {"r1": 2}}, {"web": {"r2": 2}}, deployed_twice
    ),
    "restart": Scenario({"web": WEB}, lambda w: w.restart(), {"web": {"r1": 2}}),
    "scale up": Scenario({"web": WEB}, lambda w: w.perform(actions.scale(3)), {"web": {"r1": 3}}),
    "scale down": Scenario({"web": WEB}, lambda w: w.perform(actions.scale(1)), {"web": {"r1": 1}}),
    "stop": Scenario({"web": WEB}, lambda w: w.perform(actions.stop("")), {"web": {}}),
    "start": Scenario(
        {"web": WEB}, lambda w: w.perform(actions.start), {"web": {"r1": 2}}, {"web": {}},
        lambda w: (w.upgrade("r1"), w.perform(actions.stop(""))),
    ),
    "maintenance on": Scenario({"web": WEB}, lambda w: w.perform(actions.maintenance_on("x")), {"web": {"r1": 2}}),
    "maintenance off": Scenario(
        {"web": WEB}, lambda w: w.perform(actions.maintenance_off), {"web": {"r1": 2}}, prepare=maintained
    ),
    "upgrade in maintenance": Scenario(
        {"web": WEB}, lambda w: w.upgrade("r2"), {"web": {"r2": 2}}, prepare=maintained
    ),
}  # fmt: skip


class FaultyStore(Store):
    """A store whose n-th write raises `error`, before or after it is done."""

    error: BaseException | None = None
    nth = 0
    after = False
    writes = 0

    def write_wanted(self, wanted: Wanted) -> None:
        self._write_one(lambda: super(FaultyStore, self).write_wanted(wanted))

    def write_journal(self, journal: Journal) -> None:
        self._write_one(lambda: super(FaultyStore, self).write_journal(journal))

    def remove_journal(self, service: str) -> None:
        self._write_one(lambda: super(FaultyStore, self).remove_journal(service))

    def _write_one(self, write: Callable[[], None]) -> None:
        self.writes += 1
        due = self.error is not None and self.writes == self.nth
        if due and not self.after:
            raise self.error  # type: ignore[misc]
        write()
        if due:
            raise self.error  # type: ignore[misc]


class KilledAtTheEnd(Store):
    """A store of a process that is killed when it is about to remove the journal of `web`."""

    def remove_journal(self, service: str) -> None:
        if service == "web":
            raise LockYielded
        super().remove_journal(service)


class Prepared:
    """The host of a scenario before its action. `world` returns it anew each time, as preparing it takes long."""

    def __init__(self, directory: Path, scenario: Scenario) -> None:
        self._directory, self._saved = directory / "world", directory / "saved"
        self._directory.mkdir()
        world = World(self._directory, scenario.services)
        world.store = FaultyStore(world.store.directory)
        world.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=("* * * * * bin/job",)))
        scenario.prepare(world)
        world.runtime.lost.clear()
        world.runtime.overlaps.clear()
        self._world = pickle.dumps(world)
        shutil.copytree(self._directory, self._saved)

    def world(self) -> World:
        shutil.rmtree(self._directory)
        shutil.copytree(self._saved, self._directory)
        world: World = pickle.loads(self._world)
        return world


def faults(scenario: Scenario, host: Prepared) -> Iterator[tuple[str, Callable[[World, BaseException], None]]]:
    """Yield (name, what injects an error) for every call of the scenario."""
    world = host.world()
    runtime, traffic, writes = len(world.runtime.calls), len(world.traffic.calls), world.store.writes  # type: ignore[attr-defined]
    scenario.act(world)
    for number, call in enumerate(world.runtime.calls[runtime:], 1):
        for after in (False,) if call.method in READS else (False, True):
            yield (
                f"{'after' if after else 'before'} {call.method}, call {number}",
                lambda w, error, n=number, after=after: w.runtime.fail("*", n, error, after=after),
            )
    for number, method in enumerate(world.traffic.calls[traffic:], 1):
        for at in ("before", "recorded", "after") if method == "switch" else ("before",):
            yield (
                f"{at} {method}, call {number}",
                lambda w, error, n=number, at=at: w.traffic.fail("*", n, error, at=at),
            )
    for number in range(1, world.store.writes - writes + 1):  # type: ignore[attr-defined]
        for after in (False, True):
            yield (
                f"{'after' if after else 'before'} write {number}",
                lambda w, error, n=number, after=after: _fail_write(w, error, n, after),
            )


def _fail_write(world: World, error: BaseException, number: int, after: bool) -> None:
    store: Any = world.store
    store.error, store.nth, store.after, store.writes = error, number, after, 0


def assert_consistent(world: World, scenario: Scenario, what: str, *, leftovers: bool = False) -> None:
    """Everything is the old release or everything is the new one, the traffic goes there, and nothing is left."""
    found = {service: world.running(service) for service in scenario.services}
    assert found in (scenario.old, scenario.new), f"{what}: {found}"
    for service, definition in scenario.services.items():
        live = world.store.wanted(service)
        running = [one for one in world.replicas(service) if one.running]
        assert all(live.release is not None and one.release == live.release.id for one in running), what
        if "nginx" in definition and (service in world.traffic.routes or running):
            expected = {one.endpoint for one in running}
            assert set(world.traffic.routes.get(service, ())) == expected, what
        assert world.store.journal(service) is None, what
        assert world.traffic.maintained.get(service) == live.maintenance, what
        if not leftovers:
            assert len(world.replicas(service)) == len(running), what
            assert world.runtime.snapshot().tasks == (), what
        crontab = world.crontab(service)
        if "cron" in definition:
            assert live.release is not None, what
            assert f"--revision {live.release.revision}" in (crontab or ""), what
    assert world.store.addresses().reserved == {}, what
    if any(definition.get("order") == "stop-first" for definition in scenario.services.values()):
        assert world.runtime.overlaps == [], f"{what}: two changes ran at once"
    else:
        assert world.runtime.lost == [], f"{what}: stopped while traffic went there"


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_error(name: str, tmp_path: Path) -> None:
    """An error in any call: rolled back, or finished with a warning, or finished by the next command."""
    scenario = SCENARIOS[name]
    host = Prepared(tmp_path, scenario)
    for what, inject in faults(scenario, host):
        world = host.world()
        inject(world, ConductorError("injected"))
        with contextlib.suppress(ConductorError):
            scenario.act(world)
        world.recover(tuple(scenario.services))  # as the next command does; with nothing to do in most cases
        if name == "not waited for":
            clean_up_retiring(world.context(), "web", lambda _text: None)  # as the next pass of `supervise` does
        assert_consistent(
            world, scenario, what, leftovers={"remove", "stop"}.intersection(world.runtime.failed) != set()
        )


@pytest.mark.parametrize("name", SCENARIOS)
def test_killed_at_every_call(name: str, tmp_path: Path) -> None:
    """Killed in any call: the next command on any of the services recovers the change."""
    scenario = SCENARIOS[name]
    host = Prepared(tmp_path, scenario)
    for what, inject in faults(scenario, host):
        world = host.world()
        inject(world, LockYielded())  # it leaves everything as a kill does: no rollback, and the kernel frees the locks
        try:
            scenario.act(world)
        except LockYielded:
            world.recover([min(scenario.services)])
            world.recover(tuple(scenario.services))  # the others, when the journal of the first was gone already
        assert_consistent(world, scenario, what)


@pytest.mark.parametrize("name", ["upgrade", "two services", "stop-first with traffic", "crontab"])
def test_killed_while_it_rolls_back(name: str, tmp_path: Path) -> None:
    """The cutover cannot be proven, and the process is killed at every call of the rollback that follows."""
    scenario = SCENARIOS[name]
    host = Prepared(tmp_path, scenario)
    world = unproven(host)
    calls = len(world.runtime.calls)
    with pytest.raises(ConductorError):
        scenario.act(world)
    for number in range(1, len(world.runtime.calls) - calls + 1):
        world = unproven(host)
        world.runtime.fail("*", number, LockYielded())
        try:
            scenario.act(world)
        except ConductorError:
            pass
        except LockYielded:
            world.recover([min(scenario.services)])
        assert_consistent(world, scenario, f"killed at call {number}")


def unproven(host: Prepared) -> World:
    """Return a world whose next cutover takes effect and cannot be proven."""
    world = host.world()
    world.traffic.fail("switch", 1, ConductorError("unproven"), at="after")
    return world


def test_a_hook_that_outlives_its_upgrade_is_waited_for(tmp_path: Path) -> None:
    world = Prepared(tmp_path, SCENARIOS["hook"]).world()
    world.runtime.behave("r2", Behaviour(exits_after=30.0), kind="hook")
    world.runtime.fail("logs_since", 1, LockYielded())
    with pytest.raises(LockYielded):
        world.upgrade("r2")
    began = world.clock.monotonic()
    world.recover(["web"])
    assert world.clock.monotonic() - began >= 30
    assert world.runtime.called("stop") == []
    assert_consistent(world, SCENARIOS["hook"], "hook")


def test_a_committed_change_is_routed_again_when_its_routes_were_lost(tmp_path: Path) -> None:
    world = Prepared(tmp_path, SCENARIOS["upgrade"]).world()
    world.traffic.fail("drain", 1, LockYielded())
    with pytest.raises(LockYielded):
        world.upgrade("r2")
    world.traffic.routes.clear()  # as when an operator restores nginx's files from a backup
    world.recover(["web"])
    assert_consistent(world, SCENARIOS["upgrade"], "routes lost")
    assert world.running() == {"r2": 2}


def test_a_rollback_killed_at_its_end_does_not_undo_a_later_change_of_another_service(tmp_path: Path) -> None:
    """`api` is rolled back, `web` only lacks its history entry: by the time that `web` is recovered, `api` has changed again."""
    world = World(tmp_path, {"api": WEB, "web": WEB})
    world.upgrade("r1")
    world.traffic.fail("switch", 1, ConductorError("unproven"), at="after")
    world.store = KilledAtTheEnd(world.store.directory)
    with pytest.raises(LockYielded):
        world.upgrade("r2")
    world.store = Store(world.store.directory)
    assert world.store.in_progress() == ("web",)
    world.upgrade("r3", "api")
    world.recover(["web"])
    assert (world.running("api"), world.running("web")) == ({"r3": 2}, {"r1": 2})
    for service in ("api", "web"):
        assert set(world.traffic.routes[service]) == {one.endpoint for one in world.replicas(service)}


class WrittenHistory(Recorder):
    """A recorder whose history is on disk."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.written = History(directory)

    def append(self, entry: HistoryEntry) -> None:
        self.written.append(entry)


@pytest.mark.parametrize(("error", "outcome"), [(None, Outcome.DONE), ("unproven", Outcome.ROLLED_BACK)])
def test_a_change_killed_after_its_history_entry_gets_no_second_one(
    error: str | None, outcome: Outcome, tmp_path: Path
) -> None:
    """Only the removal of the journal is missing: the recovery must not report the change again, to people and to scripts."""
    world = World(tmp_path, {"web": WEB})
    world.upgrade("r1")
    world.recorder = WrittenHistory(world.store.directory)
    if error:
        world.traffic.fail("switch", 1, ConductorError(error), at="after")
    world.store = KilledAtTheEnd(world.store.directory)
    with pytest.raises(LockYielded):
        world.upgrade("r2")
    world.store = Store(world.store.directory)
    world.recover(["web"])
    assert world.store.journal("web") is None
    assert [entry.outcome for entry in world.recorder.written.entries()] == [outcome]
    world.restart()
    assert [entry.action for entry in world.recorder.written.entries()] == ["upgrade", "restart"]


@pytest.mark.parametrize("at", ["before", "recorded", "after"])
def test_a_rollback_that_fails_is_finished_by_the_next_command(at: str, tmp_path: Path) -> None:
    """Neither the cutover nor its undoing can be proven: both releases stay until a later recovery."""
    scenario = SCENARIOS["upgrade"]
    world = Prepared(tmp_path, scenario).world()
    world.traffic.fail("switch", 1, ConductorError("unproven"), at="after")
    world.traffic.fail("undo", 1, ConductorError("unproven"), at=at)
    with pytest.raises(ConductorError) as failed:
        scenario.act(world)
    assert failed.value.code == 1
    assert world.running() == {"r1": 2, "r2": 2}
    world.recover(["web"])
    assert_consistent(world, scenario, at)
    assert world.running() == {"r1": 2}
