"""The health of every container, asked for ever, each at its own moment: probes never come in bursts.

One thread keeps the time, others ask; a container that hangs keeps one of them busy and nobody else waiting.
"""

import heapq
import threading
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec

from conductor.definitions.model import Health
from conductor.plan.supervision import Condition
from conductor.plan.values import Attempt, Container

AT_ONCE = 32  # answers that are waited for side by side
IDLE_SECONDS = 1.0


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
    ok: bool = True
    streak: int = 0
    last: str = ""
    asking: bool = False


class Watcher:
    """`ask` makes one check, `changed` is called when the condition of a container has changed."""

    def __init__(
        self, ask: Callable[[Target], Attempt], changed: Callable[[], None], monotonic: Callable[[], float]
    ) -> None:
        self._ask = ask
        self._changed = changed
        self._now = monotonic
        self._watched: dict[str, _Watched] = {}
        self._due: list[tuple[float, str]] = []
        self._wake = threading.Condition()
        self._over = False
        self._pool = ThreadPoolExecutor(AT_ONCE, "probe")
        threading.Thread(target=self._keep_time, name="probes", daemon=True).start()

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
                now = self._now()
                self._watched[name] = _Watched(target, now, "starting" if target.starting else "good")
                if target.health.none:
                    self._watched[name].condition = "good"  # the list of containers says whether it runs
                    continue
                first = min(target.health.interval, 0.5) if target.starting else target.health.interval
                spread = zlib.crc32(name.encode()) / 2**32
                heapq.heappush(self._due, (now + first * spread, name))
            self._wake.notify()

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

    def stop(self) -> None:
        """Ask nobody any more."""
        with self._wake:
            self._over = True
            self._wake.notify()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _keep_time(self) -> None:
        while True:
            with self._wake:
                if self._over:
                    return
                now = self._now()
                if not self._due or self._due[0][0] > now:
                    self._wake.wait(min(IDLE_SECONDS, self._due[0][0] - now) if self._due else IDLE_SECONDS)
                    continue
                due, name = heapq.heappop(self._due)
                watched = self._watched.get(name)
                if watched is None:
                    continue
                health = watched.target.health
                interval = health.gate_interval if watched.condition == "starting" else health.interval
                heapq.heappush(self._due, (max(due + interval, now), name))
                if watched.asking:
                    continue
                watched.asking = True
            self._pool.submit(self._one, name, watched)

    def _one(self, name: str, watched: _Watched) -> None:
        attempt = self._ask(watched.target)
        with self._wake:
            watched.asking = False
            watched.streak = watched.streak + 1 if attempt.ok == watched.ok else 1
            watched.ok, watched.last = attempt.ok, str(attempt)
            before, watched.condition = watched.condition, self._judge(watched)
            told = watched.condition != before and name in self._watched
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
