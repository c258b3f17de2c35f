"""The health of all replicas of a host, each checked at its own time, so that checks are spread evenly.

A check that hangs occupies one thread, and delays those that are due with it by a tenth of a second at most.
"""

import contextlib
import copy
import heapq
import itertools
import math
import threading
import zlib
from collections.abc import Callable, Iterable

import msgspec

from conductor.definitions.model import Health
from conductor.plan.reconcile import Condition
from conductor.plan.replica import CheckResult, Replica

SPARE_THREADS = 8  # threads that wait for the next check; further ones end, and are started again when all are busy
FIRST_SECONDS = 0.5  # a starting replica is checked within this time
# Checks whose times are in the same part of an interval are made at its end, one after the other by one thread: a quarter less CPU
# time than in threads at the same time (measured with 60 replicas, 12 and 40 checks a second).
TOGETHER_SHARE = 0.1  # of the interval between two checks of a replica
TOGETHER_SECONDS = 0.5  # at most
HANDOVER_SECONDS = 0.02  # after the start of a check, another thread may make the next one
LATE_SECONDS = 0.1  # after its time, any thread may make a check
RECENT_CHECKS = 100  # of each replica
PASSED, FAILED, UNKNOWN = b"+-?"


class Target(msgspec.Struct, frozen=True):
    """A running replica, its health check, and whether it may still be starting. `redact` removes secrets from an answer."""

    replica: Replica
    health: Health
    starting: bool
    redact: Callable[[str], str] = str


class _Watched(msgspec.Struct):
    """The results of one replica: `streak` counts equal results in a row, `phase` is its own time within the interval,
    `answer` is that of the last check if it failed, `recent` are the last `RECENT_CHECKS` results, oldest first."""

    target: Target
    since: float
    condition: Condition
    phase: float
    ok: bool = True
    streak: int = 0
    answer: str = ""
    checking: bool = False
    recent: bytearray = msgspec.field(default_factory=bytearray)


class CheckTotals(msgspec.Struct):
    """The checks of one service since this monitor began: how many passed and failed, and how long all of them took."""

    passed: int = 0
    failed: int = 0
    seconds: float = 0.0


class HealthMonitor:
    """Checks replicas in threads.

    `check` makes one check and does not raise. `changed` is called when the condition of a replica changed.
    """

    def __init__(
        self, check: Callable[[Target], CheckResult], changed: Callable[[], None], monotonic: Callable[[], float]
    ) -> None:
        self._check = check
        self._changed = changed
        self._monotonic = monotonic
        self._watched: dict[str, _Watched] = {}
        self._due: list[tuple[float, int, _Watched]] = []
        self._sequence = itertools.count()  # orders equal times
        self._wake = threading.Condition()
        self._stopped = False
        self._waiting = 0  # threads that make no check now
        self._handover = -math.inf  # until then, the next check is left to the thread that makes the latest one
        self._waits_until = math.inf  # the earliest time at which a thread stops waiting
        self._totals: dict[str, CheckTotals] = {}
        self._start_thread()

    def watch(self, targets: Iterable[Target]) -> None:
        """Check exactly these from now on. Replicas that were watched before keep their results."""
        wanted = {target.replica.id: target for target in targets}
        with self._wake:
            for gone in self._watched.keys() - wanted.keys():
                del self._watched[gone]
            for replica, target in wanted.items():
                if replica in self._watched:
                    self._watched[replica].target = target
                else:
                    self._watched[replica] = self._begin(target)
            self._wake.notify_all()

    def _begin(self, target: Target) -> _Watched:
        now, health = self._monotonic(), target.health
        spread = zlib.crc32(target.replica.id.encode()) / 2**32
        starting = target.starting and not health.none
        condition = Condition.STARTING if starting else Condition.HEALTHY
        watched = _Watched(target, now, condition, spread * health.interval)
        if not health.none:  # otherwise the list of containers shows whether it runs
            first = min(health.interval, FIRST_SECONDS) if starting else health.interval
            self._push(now + first * spread, watched)
        return watched

    def condition(self, replica: str) -> Condition:
        """Return the condition of a running replica; `HEALTHY` when it is not watched yet."""
        with self._wake:
            watched = self._watched.get(replica)
            return watched.condition if watched else Condition.HEALTHY

    def results(self) -> dict[str, tuple[Condition, str]]:
        """Return the condition of each watched replica, and the answer of its last check if that failed."""
        with self._wake:
            return {replica: (one.condition, one.answer) for replica, one in self._watched.items()}

    def recent(self) -> dict[str, str]:
        """Return the last checks of each watched replica, oldest first: `+` passed, `-` failed, `?` could not be made."""
        with self._wake:
            return {replica: one.recent.decode() for replica, one in self._watched.items() if one.recent}

    def totals(self) -> dict[str, CheckTotals]:
        """Return the totals of each service that is watched now."""
        with self._wake:
            services = {one.target.replica.service for one in self._watched.values()}
            return {service: copy.copy(one) for service, one in self._totals.items() if service in services}

    @property
    def is_conclusive(self) -> bool:
        """True once no starting replica is within its start timeout."""
        with self._wake:
            now = self._monotonic()
            starting = [one for one in self._watched.values() if one.condition == Condition.STARTING]
            return all(
                now - one.since > one.target.health.start_timeout + one.target.health.timeout for one in starting
            )

    def stop(self) -> None:
        """Make no more checks."""
        with self._wake:
            self._stopped = True
            self._wake.notify_all()

    def _work(self) -> None:
        continues = False
        while (watched := self._next_due(continues=continues)) is not None:
            self._check_one(watched)
            continues = True

    def _next_due(self, *, continues: bool) -> _Watched | None:
        """Return the next replica to check, at its time; None when this thread must end.

        One thread waits for that time. While it makes checks, another one waits in case one of them takes long. A thread that
        `continues` has just made a check and makes the next one at once.
        """
        with self._wake:
            if self._waiting == SPARE_THREADS:
                return None
            self._waiting += 1
            while not self._stopped:
                now, due = self._monotonic(), self._due[0][0] if self._due else math.inf
                if not continues:
                    due = max(due, min(self._handover, due + LATE_SECONDS))
                if due > now:
                    self._wait(due, now)
                    continues = False
                    continue
                planned, _, watched = heapq.heappop(self._due)
                if self._claim(watched, planned, now):
                    self._handover = now + HANDOVER_SECONDS
                    self._waiting -= 1
                    if not self._waiting:
                        self._start_thread()
                    elif self._waits_until == math.inf:
                        self._wake.notify()
                    return watched
        return None

    def _wait(self, due: float, now: float) -> None:
        """Wait until `due`, or to be woken. If another thread waits for an earlier time, wait only to be woken."""
        if self._waits_until <= due:
            self._wake.wait()
            return
        self._waits_until = due
        self._wake.wait(min(due - now, threading.TIMEOUT_MAX))
        if self._waits_until == due:
            self._waits_until = math.inf

    def _claim(self, watched: _Watched, due: float, now: float) -> bool:
        """Schedule the check after this one; return True if this one must be made now."""
        if self._watched.get(watched.target.replica.id) is not watched:
            return False
        self._push(_next(watched, due, now), watched)
        if watched.checking:
            return False
        watched.checking = True
        return True

    def _start_thread(self) -> None:
        """Start one more thread. When memory or pids are short there is none, and the existing threads continue."""
        with contextlib.suppress(RuntimeError):
            threading.Thread(target=self._work, name="probe", daemon=True).start()

    def _push(self, due: float, watched: _Watched) -> None:
        heapq.heappush(self._due, (due, next(self._sequence), watched))

    def _check_one(self, watched: _Watched) -> None:
        result = self._check(watched.target)
        with self._wake:
            watched.checking = False
            self._count(watched, result)
            if result.unknown:
                return
            watched.streak = watched.streak + 1 if result.ok == watched.ok else 1
            watched.ok, watched.answer = result.ok, "" if result.ok else str(result)
            before, watched.condition = watched.condition, self._judge(watched)
            is_watched = self._watched.get(watched.target.replica.id) is watched
            changed = watched.condition != before and is_watched
        if changed:
            self._changed()

    def _count(self, watched: _Watched, result: CheckResult) -> None:
        watched.recent.append(UNKNOWN if result.unknown else PASSED if result.ok else FAILED)
        del watched.recent[:-RECENT_CHECKS]
        if not result.unknown:
            totals = self._totals.setdefault(watched.target.replica.service, CheckTotals())
            totals.passed += result.ok
            totals.failed += not result.ok
            totals.seconds += result.seconds

    def _judge(self, watched: _Watched) -> Condition:
        health = watched.target.health
        if watched.ok and watched.streak >= health.successes:
            return Condition.HEALTHY
        if watched.condition == Condition.STARTING:
            timed_out = self._monotonic() - watched.since >= health.start_timeout
            return Condition.UNHEALTHY if timed_out else Condition.STARTING
        if not watched.ok and watched.streak >= health.failures:
            return Condition.UNHEALTHY
        return watched.condition


def _next(watched: _Watched, due: float, now: float) -> float:
    """Return the time of the next check: soon while the replica starts, then always in its own part of the interval."""
    health = watched.target.health
    if watched.condition == Condition.STARTING:
        return max(due + health.gate_interval, now)
    wait = health.interval - (now - watched.phase) % health.interval
    due = now + (wait if wait > health.interval / 10 else wait + health.interval)
    together = min(health.interval * TOGETHER_SHARE, TOGETHER_SECONDS)
    return math.ceil(due / together) * together
