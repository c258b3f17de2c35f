"""Half an hour of `conductor supervise` on ten services with random faults and commands: what is true all that time."""

import contextlib
import os
import random
import statistics
import time
from collections import Counter

import docker.errors
import pytest

from tests.support.aftermath import nothing_left_behind
from tests.support.commands import Spawned
from tests.support.daemon import Container
from tests.support.history_watch import LOOK_SECONDS, HistoryWatch
from tests.support.host import TestHost
from tests.support.images import REVISIONS
from tests.support.supervised import Supervised

MINUTES = float(os.environ.get("CONDUCTOR_SOAK_MINUTES", "30"))
SERVICES = [f"s{number}" for number in range(10)]
SPACING_SECONDS = 5.0
LONGEST_SECONDS = 66 + 10  # the last delay with its jitter, and a start on a busy machine
KILLED_PART = 0.25  # of the time: supervise itself is killed now and then; afterwards its memory is measured
KILLS_SECONDS = (15.0, 45.0)
PAUSES_SECONDS = (0.5, 2.5)  # between two acts of the test
FAULT_SECONDS = 6.0
REPORT_SECONDS = 300.0
MOST_GROWTH = 1.15


class Chance:
    """Random acts on random services."""

    def __init__(self, sup: Supervised, watch: HistoryWatch, seed: int) -> None:
        self.done = Counter[str]()
        self.codes = Counter[str]()
        self.bad: list[str] = []
        self._sup = sup
        self._watch = watch
        self._random = random.Random(seed)
        self._running: list[Spawned] = []
        self._faults: list[tuple[float, Container]] = []

    def act(self) -> None:
        """Do one act, then wait."""
        service = self._random.choice(SERVICES)
        acts = [self.kill, self.kill, self.remove, self.set_fault, self.pause, self.resume, self.scale, self.upgrade]
        act = self._random.choice(acts)
        self._watch.disturb(service)
        act(service)
        self.done[act.__name__] += 1
        self._collect()
        time.sleep(self._random.uniform(*PAUSES_SECONDS))

    def kill(self, service: str) -> None:
        for one in self._one(service):
            with contextlib.suppress(docker.errors.APIError):  # it has exited meanwhile
                self._sup.host.kill(one.id)

    def remove(self, service: str) -> None:
        for one in self._one(service):
            with contextlib.suppress(docker.errors.APIError):
                self._sup.host.daemon.api.remove_container(one.id, force=True)

    def set_fault(self, service: str) -> None:
        for one in self._one(service):
            self._sup.set_fault(self._random.choice(["500", "hang", "silent"]), one)
            self._faults.append((time.monotonic() + FAULT_SECONDS, one))

    def pause(self, service: str) -> None:
        self._begin("supervise", "pause", "--id", service, "--reason", "chance", "--for", "15s")

    def resume(self, service: str) -> None:
        self._begin("supervise", "resume", "--id", service)

    def scale(self, service: str) -> None:
        how = self._random.choice([("--reset",), ("--count", "1"), ("--count", "3")])
        self._begin("service", "scale", "--id", service, *how)

    def upgrade(self, service: str) -> None:
        """Start an upgrade; kill every fourth one."""
        revision = self._random.choice(REVISIONS)
        upgrade = self._begin("service", "upgrade", "--id", service, "--revision", revision)
        if self._random.random() < 0.25:
            time.sleep(self._random.uniform(0.3, 5.0))
            if upgrade.running():
                upgrade.kill()
                self.done["kill -9 of an upgrade"] += 1

    def end(self) -> None:
        """Remove all faults and pauses, and wait for the end of all commands."""
        self._sup.clear_faults()
        for spawned in self._running:
            spawned.wait(120)
        self._collect()
        for service in SERVICES:
            self._sup.host.conductor("supervise", "resume", "--id", service)
            self._watch.disturb(service)

    def _one(self, service: str) -> list[Container]:
        running = self._sup.running(service)
        return [self._random.choice(running)] if running else []

    def _begin(self, *words: str) -> Spawned:
        spawned = self._sup.host.spawn(*words)
        self._running.append(spawned)
        return spawned

    def _collect(self) -> None:
        """Collect the exit codes. A busy service or a killed container may fail a command; a usage error or a bug is bad."""
        for spawned in [one for one in self._running if not one.running()]:
            self._running.remove(spawned)
            result = spawned.wait()
            self.codes[f"{result.words[1]} {result.code}"] += 1
            if result.code not in {0, 1, 5, -9} or "bug in Conductor" in result.output:
                self.bad.append(str(result))
        now = time.monotonic()
        for until, one in [fault for fault in self._faults if fault[0] <= now]:
            self._faults.remove((until, one))
            (self._sup.sick / one.address).unlink(missing_ok=True)


@pytest.mark.long
def test_random_faults_and_commands(host: TestHost) -> None:
    sup, seed = Supervised(host), random.randrange(10**6)
    print(f"seed {seed}, {MINUTES:g} minutes")
    with contextlib.ExitStack() as stack:
        stack.callback(sup.end)
        quick = {"health": {"start_timeout": "15s"}, "stop": {"grace": "1s"}}
        kinds = [{"nginx": None}, {}, {"nginx": None, "order": "stop-first"}, {"order": "stop-first"}]
        host.define({s: sup.service(**quick, **kinds[n % 4]) for n, s in enumerate(SERVICES)})
        ids = [word for service in SERVICES for word in ("--id", service)]
        host.conductor("service", "upgrade", *ids, "--revision", "r1", check=True, timeout=300)
        spawned, logs = sup.start(), list[str]()
        with HistoryWatch(host, SERVICES, spawned.pid) as watch:
            chance = Chance(sup, watch, seed)
            began = reported = killed = time.monotonic()
            while (now := time.monotonic()) < began + 60 * MINUTES:
                assert spawned.running(), sup.log
                if now < began + 60 * MINUTES * KILLED_PART and now - killed >= random.uniform(*KILLS_SECONDS):
                    killed = now
                    spawned.kill()
                    logs.append(sup.log)
                    spawned = sup.start()
                    watch.follow(spawned.pid)
                    chance.done["kill -9 of supervise"] += 1
                chance.act()
                if now - reported >= REPORT_SECONDS:
                    reported = now
                    print(f"after {(now - began) / 60:.1f} minutes:")
                    report(sup, watch, chance)
                    check(watch, chance, "\n".join([*logs, sup.log]))
            chance.end()
            host.wait_for(lambda: all(map(watch.right, SERVICES)), f"all to be right\n{sup.log}", LONGEST_SECONDS + 20)
        report(sup, watch, chance)
        check(watch, chance, "\n".join([*logs, sup.log]))
        assert growth(watch) <= MOST_GROWTH
        for service in SERVICES:
            wanted = host.wanted(service) or {}
            count = 2 if wanted["scale"] is None else wanted["scale"]
            nothing_left_behind(host, wanted["release"]["revision"], service, count=count)


def report(sup: Supervised, watch: HistoryWatch, chance: Chance) -> None:
    """Print the figures."""
    changes = Counter(one.action for one in watch.changes.values())
    exits = sum(len(sup.events.of("die", service)) for service in SERVICES)
    starts = sum(len(sup.events.of("start", service)) for service in SERVICES)
    print(f"done: {dict(chance.done)}; commands ended: {dict(chance.codes)}")
    print(f"changes: {dict(changes)}; {exits} exits, {starts} starts")
    print(f"shortest times between two actions on one service: {sorted(round(gap, 2) for gap in watch.gaps())[:5]} s")
    print(f"longest time with a wrong count: {max(watch.wrong_for.values()):.1f} s")
    print(f"longest time that a container of another release existed: {max(watch.strays.values(), default=0):.1f} s")
    print(
        f"resident: {watch.resident[0]:.1f} MiB at the start, {watch.resident[-1]:.1f} at the end; {watch.threads} threads"
    )


def check(watch: HistoryWatch, chance: Chance, log: str) -> None:
    """Assert what must be true at any time."""
    assert watch.broken == ""
    assert chance.bad == []
    assert watch.repaired_while_paused == []
    assert "bug in Conductor" not in log
    assert min(watch.gaps()) >= SPACING_SECONDS - 2 * LOOK_SECONDS
    assert max(watch.wrong_for.values()) <= LONGEST_SECONDS, watch.wrong_for
    assert max(watch.strays.values(), default=0) <= LONGEST_SECONDS, watch.strays


def growth(watch: HistoryWatch) -> float:
    """Return the resident memory of the last fifth of the time divided by that of the second fifth."""
    fifth = len(watch.resident) // 5
    early, late = statistics.median(watch.resident[fifth : 2 * fifth]), statistics.median(watch.resident[-fifth:])
    print(f"resident in the second fifth of the time {early:.1f} MiB, in the last {late:.1f} MiB")
    return late / early
