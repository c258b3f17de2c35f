"""The health of every container, asked for ever, each at its own moment: probes never come in bursts.

A container that hangs keeps one thread busy and nobody else waiting.
"""

import contextlib
import heapq
import itertools
import threading
import zlib
from collections.abc import Callable, Iterable

import msgspec

from conductor.definitions.model import Health
from conductor.plan.reconcile import Condition
from conductor.plan.replica import CheckResult as Attempt, Replica as Container

SPARE_THREADS = 3  # that wait; one that ends and another that begins cost more, and so do many that take turns
FIRST_SECONDS = 0.5  # one that may be starting is asked soon


class Target(msgspec.Struct, frozen=True):
    """A running container, what its definition asks of it, and whether it may still be starting."""

    container: Container
    health: Health
    starting: bool


class _Watched(msgspec.Struct):
    """How one container has answered so far: `streak` counts equal answers in a row."""

    target: Target
    since: float
    condition: Condition
    phase: float  # where in its interval it is asked
    ok: bool = True
    streak: int = 0
    last: str = ""
    asking: bool = False


class HealthMonitor:
    """`ask` makes one check and raises nothing; `changed` is called when the condition of a container has changed."""

    def __init__(
        self, ask: Callable[[Target], Attempt], changed: Callable[[], None], monotonic: Callable[[], float]
    ) -> None:
        self._ask = ask
        self._changed = changed
        self._now = monotonic
        self._watched: dict[str, _Watched] = {}
        self._due: list[tuple[float, int, _Watched]] = []
        self._number = itertools.count()  # of equal moments the first one first
        self._wake = threading.Condition()
        self._over = False
        self._waiting = 0  # threads that ask nobody now
        self._start()

    def watch(self, targets: Iterable[Target]) -> None:
        """Exactly these from now on; what is known of those that stay is kept."""
        wanted = {target.container.id: target for target in targets}
        with self._wake:
            for gone in self._watched.keys() - wanted.keys():
                del self._watched[gone]
            for name, target in wanted.items():
                if name in self._watched:
                    self._watched[name].target = target
                    continue
                now, interval = self._now(), target.health.interval
                spread = zlib.crc32(name.encode()) / 2**32
                condition: Condition = "starting" if target.starting and not target.health.none else "good"
                watched = self._watched[name] = _Watched(target, now, condition, spread * interval)
                if not target.health.none:  # else the list of containers says whether it runs
                    first = min(interval, FIRST_SECONDS) if target.starting else interval
                    self._push(now + first * spread, watched)
            self._wake.notify_all()

    def condition(self, container: str) -> Condition:
        """How a running container is; one that is not watched yet counts as good."""
        with self._wake:
            watched = self._watched.get(container)
            return watched.condition if watched else "good"

    def last(self, container: str) -> str:
        """What it answered last, when that was not good."""
        with self._wake:
            watched = self._watched.get(container)
            return "" if watched is None or watched.ok else watched.last

    @property
    def is_sure(self) -> bool:
        """Whether nobody who has time left to become good uses it any more."""
        with self._wake:
            now = self._now()
            starting = [w for w in self._watched.values() if w.condition == "starting"]
            return all(now - w.since > w.target.health.start_timeout + w.target.health.timeout for w in starting)

    def stop(self) -> None:
        """Ask nobody any more."""
        with self._wake:
            self._over = True
            self._wake.notify_all()

    def _work(self) -> None:
        while (watched := self._wait()) is not None:
            self._one(watched)

    def _wait(self) -> _Watched | None:
        """The next one to be asked, at its time; None when it is all over, or enough other threads wait. Each thread waits
        for the one that it will ask: one that keeps the time for all costs a fifth more CPU a check (measured)."""
        with self._wake:
            if self._waiting == SPARE_THREADS:
                return None
            self._waiting += 1
            while not self._over:
                claimed = heapq.heappop(self._due) if self._due else None
                now = self._now()
                if claimed is None or claimed[0] > now:
                    self._wake.wait(claimed[0] - now if claimed is not None else None)
                    if claimed is not None:  # by now another one may be due earlier
                        heapq.heappush(self._due, claimed)
                    continue
                due, _, watched = claimed
                if self._watched.get(watched.target.container.id) is not watched:
                    continue
                self._push(_next(watched, due, now), watched)
                if not watched.asking:
                    watched.asking = True
                    self._waiting -= 1
                    if not self._waiting:
                        self._start()
                    return watched
        return None

    def _start(self) -> None:
        """Another thread that waits. When memory or pids are short there is none, until those that ask are done."""
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=self._work, name="probe", daemon=True).start()

    def _push(self, due: float, watched: _Watched) -> None:
        heapq.heappush(self._due, (due, next(self._number), watched))

    def _one(self, watched: _Watched) -> None:
        attempt = self._ask(watched.target)
        with self._wake:
            watched.asking = False
            if attempt.unknown:
                return
            watched.streak = watched.streak + 1 if attempt.ok == watched.ok else 1
            watched.ok, watched.last = attempt.ok, str(attempt)
            before, watched.condition = watched.condition, self._judge(watched)
            told = watched.condition != before and self._watched.get(watched.target.container.id) is watched
        if told:
            self._changed()

    def _judge(self, watched: _Watched) -> Condition:
        health = watched.target.health
        if watched.ok and watched.streak >= health.successes:
            return "good"
        if watched.condition == "starting":
            return "bad" if self._now() - watched.since >= health.start_timeout else "starting"
        if not watched.ok and watched.streak >= health.failures:
            return "bad"
        return watched.condition


def _next(watched: _Watched, due: float, now: float) -> float:
    """When it is asked again: soon while it starts, then always in its own part of the interval."""
    health = watched.target.health
    if watched.condition == "starting":
        return max(due + health.gate_interval, now)
    wait = health.interval - (now - watched.phase) % health.interval
    return now + (wait if wait > health.interval / 10 else wait + health.interval)
