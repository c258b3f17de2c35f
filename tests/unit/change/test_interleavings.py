"""Many commands and `supervise` at the same time, in an order that a seed decides, some of them killed. A model says what may be true afterwards.

The model is the history: replayed entry by entry it must lead to what runs, and tell what each command reported.
"""

import os
import tempfile
import threading
from collections.abc import Callable
from itertools import product
from pathlib import Path
from random import Random
from typing import Any

import pytest

from conductor.change import actions
from conductor.change.garbage import collect
from conductor.change.install_crontab import install
from conductor.errors import BusyError, ConductorError, OperatorError
from conductor.output.events import Finished
from conductor.plan.garbage import Kind
from conductor.plan.history import FINISHED, HistoryEntry, Outcome
from conductor.plan.journal import SWITCHES
from tests.fakes.interleaved import InterleavedHost
from tests.fakes.runtime import Behaviour
from tests.fakes.turns import Killed
from tests.fakes.world import WEB, WORKER

SERVICES: dict[str, dict[str, Any]] = {
    "web": {**WEB, "cron": {"generate": ["bin/generate-cron"]}},
    "api": {**WEB, "count": 1, "cron": {"generate": ["bin/generate-cron"]}},
    "clock": {**WORKER, "order": "stop-first"},
}
REVISIONS = ("r1", "r2", "r4", "r5")
SICK = "r3"
CHANGES = {"upgrade", "rollback", "restart", "start", "stop", "scale", "repair"}
# How often each command is chosen: all of them, or those that compete for images, addresses, and tasks.
FOR_IMAGES, FOR_REPAIRS = (6, 1, 0, 0, 0, 0, 0, 0, 3), (4, 0, 2, 0, 0, 2, 0, 6, 0)
FOR_TASKS = (2, 0, 0, 0, 0, 0, 6, 2, 4)
WEIGHTS = (
    (6, 2, 2, 1, 2, 2, 2, 1, 2),
    (2, 0, 6, 1, 2, 4, 0, 0, 0),
    FOR_TASKS,
    FOR_REPAIRS,
    FOR_IMAGES,
    FOR_IMAGES,
)
SPREADS = (0.05, 0.3)
REPAIR_SECONDS = 6.0  # between commands, for a repair beside each
SETTLED_SECONDS = 60.0  # `supervise` repairs nothing right after the start of a replica
# Between what a process reads and what it does: the needs of all services and the removal of an image; the list of containers,
# the wanted states, and an action.
PAUSES = {
    FOR_IMAGES: {("gc", "local_images"): 0.5, ("upgrade", "write_journal"): 0.9},
    FOR_REPAIRS: {("supervise", "services"): 0.4, ("supervise", "submit"): 0.5},
}
TASK_START_SECONDS = 300.0
TASK_SECONDS, TASK_TIMEOUT = 5.0, 20.0  # with the grace and all delays, still less than the slow start
SEEDS = range(48)
MORE_SEEDS = range(1000, 1000 + int(os.environ.get("CONDUCTOR_INTERLEAVINGS", "3000")))


class Interleaving:
    """One run: what each command did is in `ended`: a result, an error, or nothing when it was killed."""

    def __init__(self, seed: int, directory: Path) -> None:
        self.random = Random(seed)
        self.weights = WEIGHTS[seed % len(WEIGHTS)]
        for_images, for_repairs = self.weights is FOR_IMAGES, self.weights is FOR_REPAIRS
        services = self.random.sample(sorted(SERVICES), self.random.randint(1 + for_images, 3))
        defined = {name: SERVICES[name] for name in services}
        self.host = host = InterleavedHost(directory, defined, seed)
        for revision in (*REVISIONS, SICK):
            host.runtime.publish_image(f"shop:{revision}")
        host.runtime.behave(f"sha256:shop:{SICK}", Behaviour(healthy=False, exits_after=None), kind="service")
        for service in services:
            host.runtime.behave(service, Behaviour(exits_after=TASK_SECONDS), kind="task")
        host.runtime.behave("generate-cron", Behaviour(exits_after=0.0, stdout=("* * * * * bin/job 00",)))
        self.services, self.changed, self.revisions = services, services, (*REVISIONS, SICK)
        self.jobs = 0
        self.commands: dict[str, str] = {}
        self.ended: dict[str, Finished | ConductorError | int] = {}
        if for_images:  # those of the first service, which nothing needs any more, are here, and others upgrade to them
            host.define(defined, gc={"after_upgrade": False})
            self.changed, self.revisions = services[1:], REVISIONS[:1]
            for revision, service in product(REVISIONS, services):
                host.upgrade(revision, service)
        elif for_repairs or self.random.random() < 0.7:
            host.upgrade("r1", *services)
        host.clock.advance(SETTLED_SECONDS)
        host.pauses = PAUSES.get(self.weights, {})
        host.task_start_seconds = TASK_START_SECONDS if self.weights is FOR_TASKS else 0.0
        number = self.random.randint(6 if for_images else 3, 10)
        spread = self.random.choice(SPREADS) * (1 if for_repairs else number)  # in which commands begin
        times = [self.random.uniform(0.0, spread) + one * REPAIR_SECONDS * for_repairs for one in range(number)]
        for one, after in enumerate(times):
            self.add(one, after=after)
        self.supervised = for_repairs or self.random.random() < 0.7
        if self.supervised:
            deaths = [self.random.randint(1, 200) for _ in range(self.random.randint(0, 3))]
            host.begin_supervise(deaths, after=host.task_start_seconds)
        exits = number if for_repairs else 2
        for at in self.random.sample(times, self.random.randint(0, exits) if self.supervised else 0):
            after = max(0.0, at - self.random.uniform(0.0, 0.5)) + host.task_start_seconds
            host.begin(f"exit {after}", host.exit_one, after=after)

    def add(self, number: int, *, after: float) -> None:
        name, call = self.command()
        if name != "run":
            after += self.host.task_start_seconds
        process = f"{name} #{number}"
        self.commands[process] = name

        def work() -> None:
            try:
                self.ended[process] = call()
            except ConductorError as error:
                self.ended[process] = error

        steps = self.random.randint(1, 120) if self.random.random() < 0.35 else None
        self.host.begin(process, work, after=after, steps=steps)

    def command(self) -> tuple[str, Callable[[], Any]]:
        host, one = self.host, self.random.choice(self.changed)
        some = self.random.sample(self.changed, self.random.randint(1, len(self.changed)))
        wait = self.random.choice((0.0, 300.0))
        revision = self.random.choice(self.revisions)
        start, count = self.random.random() < 0.3, self.random.randint(0, 3)
        calls: dict[str, Callable[[], Any]] = {
            "upgrade": lambda: host.upgrade(revision, *some, wait_seconds=wait, start=start),
            "rollback": lambda: host.perform(actions.rollback(None), *some, wait_seconds=wait),
            "scale": lambda: host.perform(actions.scale(count), one, wait_seconds=wait),
            "stop": lambda: host.perform(actions.stop(""), one, wait_seconds=wait),
            "start": lambda: host.perform(actions.start, *some, wait_seconds=wait),
            "restart": lambda: host.perform(actions.restart, *some, wait_seconds=wait),
            "run": lambda: host.run_task(one, TASK_TIMEOUT),
            "cron install": lambda: self.install_crontab(one, wait),
            "gc": lambda: collect(host.context(), frozenset(Kind)),
        }
        name = self.random.choices(list(calls), self.weights)[0]
        return name, calls[name]

    def install_crontab(self, service: str, wait_seconds: float) -> Finished:
        """`cron install`, after the app has got another job."""
        self.jobs += 1
        self.host.runtime.behave(
            "generate-cron", Behaviour(exits_after=0.0, stdout=(f"* * * * * bin/job {self.jobs:02}",))
        )
        return install(self.host.context(), self.host.definitions, service, None, wait_seconds)

    def run(self) -> None:
        """Run all, recover what was interrupted, and check. Without `supervise`, the next commands alone must recover it."""
        self.host.turns.run()
        if not self.supervised:
            self.host.recover_all()
            self.check(tasks_end=False)
        self.host.settle()
        self.check(tasks_end=True)

    def check(self, *, tasks_end: bool) -> None:
        """Assert what must be true once everything has ended."""
        host, entries = self.host, self.host.entries()
        assert host.runtime.bad == []
        assert host.store.bad == []
        assert host.runtime.lost == []
        for service in self.services:
            self.check_service(service)
            self.check_history(service, [one for one in entries if one.service == service])
        for process in self.commands:
            self.check_command(process, [one for one in entries if one.command == process])
        for change in {one.change for one in entries if one.change}:
            outcomes = [one.outcome in FINISHED for one in entries if one.change == change]
            assert len(set(outcomes)) == 1, f"change {change} is finished for one service and not for another"
        assert host.store.begun <= {(one.service, one.change) for one in entries}, "a change has no entry"
        assert host.store.addresses().reserved == {}
        assert not tasks_end or host.runtime.snapshot().tasks == ()
        locks = host.context().locks
        names = [path.stem for path in (host.directory / "run" / "locks").iterdir()]
        assert [name for name in names if locks.is_held(name)] == []
        assert list(host.directory.rglob("*.new")) == []

    def check_service(self, service: str) -> None:
        """One release serves, as often as wanted, and nothing is left over."""
        host, wanted, definition = self.host, self.host.store.wanted(service), SERVICES[service]
        assert host.store.journal(service) is None
        replicas = host.replicas(service)
        if wanted.release is None:
            assert replicas == ()
            return
        count = definition["count"] if wanted.scale is None else wanted.scale
        assert [one.release for one in replicas if one.running] == [wanted.live.id] * (0 if wanted.stopped else count)
        assert all(one.running for one in replicas)
        if "nginx" in definition:
            assert set(host.traffic.routes[service]) == {one.endpoint for one in replicas}
        if "cron" in definition:
            crontab = host.crontab(service)
            assert (crontab is None) == bool(wanted.stopped)
            assert crontab is None or f"--revision {wanted.live.revision} " in crontab
            if not any(process.startswith("cron install") for process in host.killed):  # between its two writes
                assert crontab is None or wanted.live.crontab.removeprefix("* * * * * ").strip() in crontab

    def check_history(self, service: str, entries: list[HistoryEntry]) -> None:
        """Replayed, the changes of the history lead to the live release."""
        revision = None
        for entry in [one for one in entries if one.action in CHANGES]:
            assert entry.from_ == revision, entry
            if entry.outcome in FINISHED:
                assert entry.action in SWITCHES or entry.to == revision, entry
                assert entry.to != SICK or not entry.count, "a revision that never becomes healthy is live"
                revision = entry.to
        wanted = self.host.store.wanted(service)
        assert revision == (wanted.release and wanted.release.revision)
        changes = [one.change for one in entries if one.change]
        assert len(changes) == len(set(changes)), "a change has two entries"
        if wanted.release:
            finished = [one.change for one in entries if one.change and one.outcome in FINISHED]
            assert wanted.live.id in finished

    def check_command(self, process: str, entries: list[HistoryEntry]) -> None:
        """The history has what the command reported. Of one that was killed, others have recorded the end."""
        ended, finished = self.ended.get(process), [one for one in entries if one.outcome in FINISHED]
        if isinstance(ended, Finished) and self.commands[process] not in {"gc", "cron install"}:
            changed = sorted(one.service for one in ended.services if one.changed)
            assert sorted(one.service for one in finished) == changed
            assert {one.outcome for one in entries} <= {Outcome.DONE}
        elif isinstance(ended, BusyError):
            assert entries == []
        elif isinstance(ended, ConductorError) and not isinstance(ended, OperatorError):
            assert finished == []
        elif ended is None and self.commands[process] != "gc":
            assert process in self.host.killed


@pytest.fixture(autouse=True)
def no_trace_of_killed_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = threading.excepthook
    monkeypatch.setattr(threading, "excepthook", lambda args: None if args.exc_type is Killed else hook(args))


@pytest.mark.parametrize("seed", SEEDS)
def test_commands_at_the_same_time(seed: int, tmp_path: Path) -> None:
    Interleaving(seed, tmp_path).run()


@pytest.mark.long
def test_thousands_of_interleavings() -> None:
    for seed in MORE_SEEDS:
        with tempfile.TemporaryDirectory() as directory:
            try:
                Interleaving(seed, Path(directory)).run()
            except BaseException as error:
                error.add_note(f"seed {seed}")
                raise
