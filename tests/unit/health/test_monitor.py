"""How results become conditions, and when each replica is checked."""

import itertools
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

from conductor.definitions.model import Health
from conductor.health.monitor import SPARE_THREADS, HealthMonitor, Target, _next, _Watched
from conductor.plan.reconcile import Condition
from conductor.plan.replica import CheckResult, Replica

HEALTH = Health(path="/up", interval=0.05, gate_interval=0.02, timeout=1.0, start_timeout=0.3, successes=2, failures=3)
SLACK_SECONDS = 5.0


def target(number: int, health: Health = HEALTH, *, starting: bool = False) -> Target:
    replica = Replica(
        id=f"i{number}", name=f"web-{number}", service="web", revision="r1", release="c1", change="c1",
        address=f"10.0.0.{number}:80", state="running",
    )  # fmt: skip
    return Target(replica, health, starting)


class Apps:
    """What each replica answers; `checked` are the times of its checks, `threads` those that made any."""

    def __init__(self) -> None:
        self.answers: dict[str, Iterator[bool]] = {}
        self.always: dict[str, bool] = {}
        self.hangs: set[str] = set()
        self.seconds = 0.0  # that each check takes
        self.unknown: set[str] = set()
        self.checked: dict[str, list[float]] = {}
        self.threads: set[threading.Thread] = set()
        self.released = threading.Event()
        self.changes = 0
        self.monitor = HealthMonitor(self.check, self.changed, time.monotonic)

    def check(self, target: Target) -> CheckResult:
        name = target.replica.id
        self.threads.add(threading.current_thread())
        self.checked.setdefault(name, []).append(time.monotonic())
        if self.seconds:
            time.sleep(self.seconds)
        if name in self.hangs:
            self.released.wait(30)
        ok = (
            next(self.answers[name], self.always.get(name, True))
            if name in self.answers
            else self.always.get(name, True)
        )
        unknown = name in self.unknown
        return CheckResult(ok=ok and not unknown, seconds=0.0, status=200 if ok else 500, unknown=unknown)

    def changed(self) -> None:
        self.changes += 1

    def wait(self, condition, what: str) -> None:
        until = time.monotonic() + SLACK_SECONDS
        while not condition():
            assert time.monotonic() < until, what
            time.sleep(0.005)

    def becomes(self, name: str, condition: Condition) -> None:
        self.wait(lambda: self.monitor.condition(name) == condition, f"{name} is {self.monitor.condition(name)}")

    def checks(self, name: str, times: int) -> None:
        self.wait(lambda: len(self.checked.get(name, ())) >= times, f"{name} was checked {self.checked.get(name)}")


@pytest.fixture
def apps() -> Iterator[Apps]:
    made = Apps()
    yield made
    made.released.set()
    made.monitor.stop()


def test_a_check_that_cannot_be_made_changes_nothing(apps: Apps) -> None:
    apps.unknown.add("i1")
    apps.monitor.watch([target(1)])
    apps.wait(lambda: len(apps.checked.get("i1", [])) > 2 * HEALTH.failures, "many checks")
    assert apps.monitor.condition("i1") == Condition.HEALTHY
    assert apps.changes == 0


def test_failures_in_a_row_make_it_unhealthy_and_successes_in_a_row_healthy(apps: Apps) -> None:
    apps.answers["i1"] = iter([True, False, False, False])
    apps.always["i1"] = False
    apps.monitor.watch([target(1)])
    apps.becomes("i1", Condition.UNHEALTHY)
    assert len(apps.checked["i1"]) >= 4
    apps.always["i1"] = True
    apps.becomes("i1", Condition.HEALTHY)
    assert apps.changes == 2


def test_flapping_below_the_threshold_changes_nothing(apps: Apps) -> None:
    apps.answers["i1"] = iter([False, False, True] * 4)
    apps.monitor.watch([target(1)])
    apps.checks("i1", 13)
    assert (apps.monitor.condition("i1"), apps.changes) == (Condition.HEALTHY, 0)


def test_a_single_success_does_not_make_it_healthy(apps: Apps) -> None:
    apps.answers["i1"] = iter([False, False, False, True, False, True, False])
    apps.always["i1"] = False
    apps.monitor.watch([target(1)])
    apps.becomes("i1", Condition.UNHEALTHY)
    apps.checks("i1", 9)
    assert (apps.monitor.condition("i1"), apps.changes) == (Condition.UNHEALTHY, 1)


def test_a_starting_replica_has_its_start_timeout(apps: Apps) -> None:
    apps.answers["i1"] = iter([False] * 6)
    apps.always["i2"] = False
    apps.hangs = {"i1", "i2"}  # until both were seen starting
    began = time.monotonic()
    apps.monitor.watch([target(1, starting=True), target(2, starting=True)])
    assert [apps.monitor.condition(n) for n in ("i1", "i2", "i3")] == [
        Condition.STARTING,
        Condition.STARTING,
        Condition.HEALTHY,
    ]
    apps.hangs = set()
    apps.released.set()
    apps.becomes("i1", Condition.HEALTHY)
    apps.becomes("i2", Condition.UNHEALTHY)
    assert time.monotonic() - began >= HEALTH.start_timeout


def test_a_replica_without_a_check_is_healthy(apps: Apps) -> None:
    apps.monitor.watch([target(1, Health(none=True), starting=True), target(2)])
    apps.checks("i2", 3)
    assert apps.monitor.condition("i1") == Condition.HEALTHY
    assert "i1" not in apps.checked


def test_results_of_watched_replicas_are_kept(apps: Apps) -> None:
    apps.always["i1"] = False
    apps.monitor.watch([target(1), target(2)])
    apps.becomes("i1", Condition.UNHEALTHY)
    apps.monitor.watch([target(1)])
    assert apps.monitor.condition("i1") == Condition.UNHEALTHY


def test_a_replica_that_is_watched_again_starts_anew_at_the_same_rate(apps: Apps) -> None:
    apps.always["i1"] = False
    apps.monitor.watch([target(1)])
    apps.becomes("i1", Condition.UNHEALTHY)
    for _ in range(5):
        apps.monitor.watch([])
        apps.monitor.watch([target(1)])
    assert apps.monitor.condition("i1") == Condition.HEALTHY
    began = time.monotonic()
    before = len(apps.checked["i1"])
    apps.checks("i1", before + 10)
    checks = len(apps.checked["i1"]) - before
    assert (
        checks <= (time.monotonic() - began) / HEALTH.interval + 2
    )  # the first one may be late, and the last one early


def test_checks_that_hang_delay_no_other(apps: Apps) -> None:
    apps.hangs = {f"i{n}" for n in range(1, 41)}
    apps.monitor.watch([target(n) for n in range(1, 51)])
    for name in apps.hangs:
        apps.checks(name, 1)
    before = {f"i{n}": len(apps.checked.get(f"i{n}", ())) for n in range(41, 51)}
    for name, times in before.items():
        apps.checks(name, times + 5)
    assert all(len(apps.checked[name]) == 1 for name in apps.hangs)


def test_slow_checks_of_many_replicas_are_made_in_time(apps: Apps) -> None:
    """One thread alone could make 50 of these checks a second."""
    apps.seconds = 0.02
    each_second = msgspec.structs.replace(HEALTH, interval=1.0)
    apps.monitor.watch([target(n, each_second) for n in range(1, 151)])
    for n in range(1, 151):
        apps.checks(f"i{n}", 3)
    longest = max(later - earlier for times in apps.checked.values() for earlier, later in itertools.pairwise(times))
    assert longest < 1.8


def test_checks_continue_when_no_thread_can_be_started(apps: Apps, monkeypatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    apps.monitor.watch([target(1), target(2)])
    apps.checks("i1", 3)
    apps.checks("i2", 3)


def test_few_threads_wait_for_the_next_check(apps: Apps) -> None:
    apps.hangs = {f"i{n}" for n in range(1, 21)}
    relaxed = msgspec.structs.replace(HEALTH, interval=0.5)  # a busy machine, too, has pauses between the checks
    apps.monitor.watch([target(n, relaxed) for n in range(1, 21)])
    for name in apps.hangs:
        apps.checks(name, 1)
    hung = set(apps.threads)
    assert len(hung) == 20
    apps.hangs = set()
    apps.released.set()
    apps.wait(lambda: sum(thread.is_alive() for thread in hung) <= SPARE_THREADS, "most of them to end")
    assert apps.monitor.condition("i1") == Condition.HEALTHY


def test_checks_are_spread_over_the_interval(apps: Apps) -> None:
    """Also after a start, when all are checked soon."""
    slow = Health(path="/up", interval=5.0, gate_interval=0.1)
    times = []
    for number in range(200):
        spread = number / 200
        watched = _Watched(target(number, slow), 1000.0, Condition.HEALTHY, spread * 5.0)
        first = _next(watched, 1000.2, 1000.2)
        times.append(first)
        later = [first]
        for _ in range(5):
            later.append(_next(watched, later[-1], later[-1] + 0.003))
        assert all(b - a == pytest.approx(5.0) for a, b in itertools.pairwise(later))
    in_each = [sum(int(t * 2) == half for t in times) for half in range(2000, 2013)]
    assert max(in_each) <= 25


def test_conclusive_once_no_start_timeout_runs(apps: Apps) -> None:
    apps.always["i1"] = False
    assert apps.monitor.is_conclusive
    slow = Health(path="/up", interval=0.05, start_timeout=30.0, timeout=0.1)
    apps.monitor.watch([target(1, slow, starting=True)])
    assert not apps.monitor.is_conclusive
    apps.monitor.watch([target(1, msgspec.structs.replace(slow, start_timeout=0.1), starting=True)])
    apps.wait(lambda: apps.monitor.is_conclusive, "the start timeout to pass")


def test_the_last_checks_are_kept_and_all_are_counted(apps: Apps, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conductor.health.monitor.RECENT_CHECKS", 4)

    def answers() -> Iterator[bool]:
        yield from (True, True, False, True, False)
        apps.hangs.add("i1")  # the check after the next
        yield True

    apps.answers["i1"] = answers()
    apps.unknown.add("i2")
    apps.monitor.watch([target(1), target(2)])
    apps.wait(lambda: apps.monitor.recent().get("i1") == "-+-+", "the last four of six checks")
    apps.wait(lambda: apps.monitor.recent().get("i2") == "????", "checks that could not be made")
    totals = apps.monitor.totals()["web"]
    assert (totals.passed, totals.failed, totals.seconds) == (4, 2, 0.0)
    apps.monitor.watch([])
    assert (apps.monitor.recent(), apps.monitor.totals()) == ({}, {})
