"""Half an hour under `conductor supervise` with everything that happens to a host, and what its events say of it in the end."""

import contextlib
import itertools
import json
import os
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.support.aftermath import nothing_left_behind
from tests.support.commands import Spawned
from tests.support.host import TestHost
from tests.support.images import REVISIONS
from tests.support.supervised import Supervised

MINUTES = float(os.environ.get("SOAK_MINUTES", "30"))  # a shorter one tries the test itself
NAMES = [f"s{number}" for number in range(10)]
SPACING_SECONDS = 5.0
QUIET_EVERY_SECONDS = 100.0
LONGEST_DELAY_SECONDS = 66.0
MOST_GROWTH = 1.1


class Soak:
    """Ten services, some with nginx, one that may never run twice; what people do to them, by chance."""

    def __init__(self, host: TestHost, sup: Supervised, chance: random.Random) -> None:
        self.host = host
        self.sup = sup
        self.chance = chance
        self.paused: dict[str, float] = {}
        self.pauses: list[tuple[str, float, float]] = []
        self.done: dict[str, int] = defaultdict(int)
        self._begun: list[Spawned] = []

    def define(self) -> None:
        odd: list[dict[str, Any]] = [{}, {"nginx": None}, {"nginx": None, "order": "stop-first"}]
        self.host.define(
            {name: self.sup.service(count=1 + number % 3, **odd[number % 4 % 3]) for number, name in enumerate(NAMES)}
        )
        ids = [word for name in NAMES for word in ("--id", name)]
        self.host.conductor("service", "upgrade", *ids, "--revision", "r1", check=True, timeout=120)

    def act(self) -> None:
        """One thing happens to one service."""
        name = self.chance.choice(NAMES)
        happens = self.chance.choice(["kill", "kill", "remove", "ill", "pause", "scale", "upgrade", "killed upgrade"])
        if name in self.paused:
            happens = "resume"
        self.done[happens] += 1
        getattr(self, happens.replace(" ", "_"))(name)

    def kill(self, name: str) -> None:
        for container in self.sup.running(name)[:1]:
            self._by_hand(self.host.daemon.api.kill, container.id)

    def remove(self, name: str) -> None:
        for container in self.sup.running(name)[:1]:
            self._by_hand(self.host.daemon.api.remove_container, container.id, force=True)

    def ill(self, name: str) -> None:
        self.sup.make(self.chance.choice(["500", "silent"]), *self.sup.running(name)[:1])

    def pause(self, name: str) -> None:
        self.host.conductor("supervise", "pause", "--id", name, "--reason", "soak", "--wait", "60s", check=True)
        self.paused[name] = time.time()
        self.kill(name)

    def resume(self, name: str) -> None:
        self.pauses.append((name, self.paused.pop(name), time.time()))
        self.host.conductor("supervise", "resume", "--id", name, "--wait", "60s", check=True)

    def scale(self, name: str) -> None:
        count = self.chance.randint(0, 3)
        done = self.host.conductor("service", "scale", "--id", name, "--count", str(count), "--wait", "60s")
        self.settle_what_failed(name, done.code)

    def upgrade(self, name: str) -> None:
        done = self.host.upgrade(self.chance.choice(REVISIONS), name, "--wait", "60s")
        self.settle_what_failed(name, done.code)

    def killed_upgrade(self, name: str) -> None:
        upgrade = self.host.spawn("service", "upgrade", "--id", name, "--revision", self.chance.choice(REVISIONS))
        time.sleep(self.chance.uniform(0.2, 3.0))
        upgrade.kill()

    def settle_what_failed(self, name: str, code: int) -> None:
        """A container may be ill, killed or removed at any moment: then a command fails, and says so."""
        assert code in {0, 1}, f"{name}: exit code {code}"
        self.done["failed command"] += code

    def wanted_count(self, name: str) -> int:
        wanted = self.host.wanted(name) or {}
        return int(wanted["release"]["definition"]["count"] if wanted["scale"] is None else wanted["scale"])

    def _by_hand(self, call: Any, *args: Any, **options: Any) -> None:
        from docker.errors import APIError

        try:
            call(*args, **options)
        except APIError:  # it was gone already
            self.done["too late"] += 1

    def peace(self) -> None:
        """Nothing happens any more: soon all is as wanted, and nothing is left of anything."""
        for name in list(self.paused):
            self.resume(name)
        self.sup.heal()
        for name in NAMES:
            with contextlib.suppress(AssertionError):  # which then says what is missing
                self.host.wait_for(lambda name=name: self.is_well(name), "", LONGEST_DELAY_SECONDS + 30)
            self.must_be_well(name)

    def must_be_well(self, name: str) -> None:
        revision = self.host.wanted(name)["release"]["revision"]
        nothing_left_behind(self.host, revision, name, count=self.wanted_count(name))

    def is_well(self, name: str) -> bool:
        try:
            self.must_be_well(name)
        except (AssertionError, OSError):
            return False
        return True


def resident_kib(pid: int) -> int:
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0])


@pytest.mark.long
def test_half_an_hour(host: TestHost) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}, {MINUTES:g} minutes")
    sup = Supervised(host)
    soak = Soak(host, sup, random.Random(seed))
    soak.define()
    memory: list[int] = []
    try:
        spawned = sup.start()
        began = quiet = time.monotonic()
        while time.monotonic() - began < MINUTES * 60:
            soak.act()
            time.sleep(soak.chance.uniform(0.2, 2.5))
            if time.monotonic() - began < MINUTES * 20 and soak.chance.random() < 0.03:
                soak.done["killed supervise"] += 1
                spawned.kill()
                spawned = sup.start()
            if time.monotonic() - quiet > QUIET_EVERY_SECONDS:
                soak.peace()
                memory.append(resident_kib(spawned.pid))
                quiet = time.monotonic()
        soak.peace()
        memory.append(resident_kib(spawned.pid))
    finally:
        sup.end()
    print(json.dumps(soak.done), f"KiB resident: {memory}")
    told = actions_of_supervise(host)
    print(f"{sum(map(len, told.values()))} actions of supervise, nearest {nearest(told):.2f} s apart")
    assert nearest(told) >= SPACING_SECONDS
    assert started_while_paused(soak) == []
    half = memory[len(memory) // 2 :]
    assert half[-1] <= half[0] * MOST_GROWTH


def actions_of_supervise(host: TestHost) -> dict[str, list[float]]:
    """When its corrections began, by service; repeated failures are told once."""
    from datetime import datetime

    found: dict[str, list[float]] = defaultdict(list)
    for line in host.history():
        if line["command"] == "supervise" and "began" in line:
            found[line["service"]].append(datetime.fromisoformat(line["began"]).timestamp())
    return {name: sorted(moments) for name, moments in found.items()}


def nearest(told: dict[str, list[float]]) -> float:
    return min(b - a for moments in told.values() for a, b in itertools.pairwise(moments))


def started_while_paused(soak: Soak) -> list[str]:
    """Starts that nobody but supervise can have begun."""
    return [
        f"{name} at {moment}"
        for name, began, ended in soak.pauses
        for moment in soak.sup.events.of("start", name)
        if began <= moment < ended
    ]
