"""How answers become conditions, and when each container is asked: on a clock that only transitions when it is told to."""

import itertools
import threading
import time
from collections.abc import Iterator

import pytest

from conductor.definitions.model import Health
from conductor.health.monitor import SPARE_THREADS, HealthMonitor, Target, _next, _Watched
from conductor.plan.values import Attempt, Container

HEALTH = Health(path="/up", interval=0.05, gate_interval=0.02, timeout=1.0, start_timeout=0.3, successes=2, failures=3)
SLACK_SECONDS = 5.0


def target(number: int, health: Health = HEALTH, *, starting: bool = False) -> Target:
    container = Container(
        id=f"i{number}", name=f"web-{number}", service="web", revision="r1", kind="service", digest="d", change="c1",
        address=f"10.0.0.{number}:80", image_id="i", state="running",
    )  # fmt: skip
    return Target(container, health, starting)


class Apps:
    """What each container answers; `asked` are the moments at which it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Iterator[bool]] = {}
        self.always: dict[str, bool] = {}
        self.hangs: set[str] = set()
        self.unknown: set[str] = set()
        self.asked: dict[str, list[float]] = {}
        self.released = threading.Event()
        self.changes = 0
        self.watcher = HealthMonitor(self.ask, self.changed, time.monotonic)

    def ask(self, asked: Target) -> Attempt:
        name = asked.container.id
        self.asked.setdefault(name, []).append(time.monotonic())
        if name in self.hangs:
            self.released.wait(30)
        ok = (
            next(self.answers[name], self.always.get(name, True))
            if name in self.answers
            else self.always.get(name, True)
        )
        unknown = name in self.unknown
        return Attempt(ok=ok and not unknown, seconds=0.0, status=200 if ok else 500, unknown=unknown)

    def changed(self) -> None:
        self.changes += 1

    def wait(self, condition, what: str) -> None:
        until = time.monotonic() + SLACK_SECONDS
        while not condition():
            assert time.monotonic() < until, what
            time.sleep(0.005)

    def becomes(self, name: str, condition: str) -> None:
        self.wait(lambda: self.watcher.condition(name) == condition, f"{name} is {self.watcher.condition(name)}")

    def answered(self, name: str, times: int) -> None:
        self.wait(lambda: len(self.asked.get(name, ())) >= times, f"{name} was asked {self.asked.get(name)}")


@pytest.fixture
def apps() -> Iterator[Apps]:
    made = Apps()
    yield made
    made.released.set()
    made.watcher.stop()


def test_who_cannot_be_asked_stays_as_it_was(apps: Apps) -> None:
    apps.unknown.add("i1")
    apps.watcher.watch([target(1)])
    apps.wait(lambda: len(apps.asked.get("i1", [])) > 2 * HEALTH.failures, "many questions")
    assert apps.watcher.condition("i1") == "good"
    assert apps.changes == 0


def test_misses_in_a_row_make_it_bad_and_answers_in_a_row_good_again(apps: Apps) -> None:
    apps.answers["i1"] = iter([True, False, False, False])
    apps.always["i1"] = False
    apps.watcher.watch([target(1)])
    apps.becomes("i1", "bad")
    assert len(apps.asked["i1"]) >= 4
    assert apps.watcher.last("i1") == "status 500"
    apps.always["i1"] = True
    apps.becomes("i1", "good")
    assert (apps.changes, apps.watcher.last("i1")) == (2, "")


def test_flapping_below_the_threshold_changes_nothing(apps: Apps) -> None:
    apps.answers["i1"] = iter([False, False, True] * 4)
    apps.watcher.watch([target(1)])
    apps.answered("i1", 13)
    assert (apps.watcher.condition("i1"), apps.changes) == ("good", 0)


def test_one_answer_in_between_heals_nothing(apps: Apps) -> None:
    apps.answers["i1"] = iter([False, False, False, True, False, True, False])
    apps.always["i1"] = False
    apps.watcher.watch([target(1)])
    apps.becomes("i1", "bad")
    apps.answered("i1", 9)
    assert (apps.watcher.condition("i1"), apps.changes) == ("bad", 1)


def test_a_start_has_its_budget(apps: Apps) -> None:
    apps.answers["i1"] = iter([False] * 6)
    apps.always["i2"] = False
    began = time.monotonic()
    apps.watcher.watch([target(1, starting=True), target(2, starting=True)])
    assert [apps.watcher.condition(n) for n in ("i1", "i2", "i3")] == ["starting", "starting", "good"]
    apps.becomes("i1", "good")
    apps.becomes("i2", "bad")
    assert time.monotonic() - began >= HEALTH.start_timeout


def test_without_a_check_it_is_never_asked(apps: Apps) -> None:
    apps.watcher.watch([target(1, Health(none=True), starting=True), target(2)])
    apps.answered("i2", 3)
    assert apps.watcher.condition("i1") == "good"
    assert "i1" not in apps.asked


def test_what_is_known_of_those_that_stay_is_kept(apps: Apps) -> None:
    apps.always["i1"] = False
    apps.watcher.watch([target(1), target(2)])
    apps.becomes("i1", "bad")
    apps.watcher.watch([target(1)])
    assert apps.watcher.condition("i1") == "bad"


def test_one_that_comes_back_is_new_and_asked_as_often_as_before(apps: Apps) -> None:
    apps.always["i1"] = False
    apps.watcher.watch([target(1)])
    apps.becomes("i1", "bad")
    for _ in range(5):
        apps.watcher.watch([])
        apps.watcher.watch([target(1)])
    assert apps.watcher.condition("i1") == "good"
    before = len(apps.asked["i1"])
    time.sleep(10 * HEALTH.interval)
    assert len(apps.asked["i1"]) - before <= 11


def test_those_that_hang_keep_no_other_waiting(apps: Apps) -> None:
    apps.hangs = {f"i{n}" for n in range(1, 41)}
    apps.watcher.watch([target(n) for n in range(1, 51)])
    for name in apps.hangs:
        apps.answered(name, 1)
    before = {f"i{n}": len(apps.asked.get(f"i{n}", ())) for n in range(41, 51)}
    for name, times in before.items():
        apps.answered(name, times + 5)
    assert all(len(apps.asked[name]) == 1 for name in apps.hangs)


def test_it_asks_on_when_no_thread_can_be_started(apps: Apps, monkeypatch) -> None:
    def refused(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    apps.watcher.watch([target(1), target(2)])
    apps.answered("i1", 3)
    apps.answered("i2", 3)


def test_few_threads_wait(apps: Apps) -> None:
    before = threading.active_count()
    apps.hangs = {f"i{n}" for n in range(1, 21)}
    apps.watcher.watch([target(n) for n in range(1, 21)])
    for name in apps.hangs:
        apps.answered(name, 1)
    assert threading.active_count() >= before + 20
    apps.hangs = set()
    apps.released.set()
    apps.wait(lambda: threading.active_count() <= before + SPARE_THREADS, "most of them to end")
    assert apps.watcher.condition("i1") == "good"


def test_checks_never_come_in_bursts(apps: Apps) -> None:
    """Also after a start, when all are asked at once to see whether they are up."""
    slow = Health(path="/up", interval=5.0, gate_interval=0.1)
    times = []
    for number in range(200):
        spread = number / 200
        watched = _Watched(target(number, slow), 1000.0, "good", spread * 5.0)
        first = _next(watched, 1000.2, 1000.2)
        times.append(first)
        later = [first]
        for _ in range(5):
            later.append(_next(watched, later[-1], later[-1] + 0.003))
        assert all(b - a == pytest.approx(5.0) for a, b in itertools.pairwise(later))
    in_each = [sum(int(t * 2) == half for t in times) for half in range(2000, 2013)]
    assert max(in_each) <= 25
