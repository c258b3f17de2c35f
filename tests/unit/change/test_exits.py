"""A new replica exits before each call of an upgrade up to the cutover: it gets no traffic, and the old release stays."""

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conductor.errors import ConductorError
from tests.fakes.world import World
from tests.unit.change.test_faults import SCENARIOS, Prepared, assert_consistent


class Watched:
    """`target`, which first calls `before` with the name of each call."""

    def __init__(self, target: Any, before: Callable[[str], None]) -> None:
        self._target, self._before = target, before

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._before(name)
            return found(*arguments, **named)

        return call


class ExitBefore:
    """Lets one replica of r2 exit before the call with the number `nth`. `cutover` is the number of the first switch."""

    def __init__(self, world: World, nth: int) -> None:
        self.exited = False
        self.cutover = 0
        self._runtime, self._nth = world.runtime, nth
        self._calls = 0
        self._lock = threading.Lock()
        for part in ("runtime", "traffic", "health", "store"):
            setattr(world, part, Watched(getattr(world, part), self._before))

    def _before(self, method: str) -> None:
        with self._lock:
            self._calls += 1
            new = [one for one in self._runtime.snapshot().replicas if one.running and one.revision == "r2"]
            if self._calls == self._nth and new:
                self._runtime.exit(new[-1].id)
                self.exited = True
            if method == "switch" and not self.cutover:
                self.cutover = self._calls


@pytest.mark.parametrize("name", ["upgrade", "two services", "canary", "stop-first with traffic"])
def test_a_new_replica_exits(name: str, tmp_path: Path) -> None:
    scenario = SCENARIOS[name]
    host = Prepared(tmp_path, scenario)
    world = host.world()
    last = ExitBefore(world, 0)
    scenario.act(world)
    exits = 0
    for number in range(1, last.cutover + 1):
        world = host.world()
        one = ExitBefore(world, number)
        with contextlib.suppress(ConductorError):
            scenario.act(world)
        if one.exited:
            exits += 1
            assert_consistent(world, scenario, f"exit before call {number}")
    assert exits > 5
