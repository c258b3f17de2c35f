"""What `supervise` decides: by cases, as properties of any state, and over simulated hours with a fake clock."""

import itertools
import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.definitions.load import restore
from conductor.plan.backoff import DELAYS_SECONDS, JITTER, RESET_SECONDS, SPACING_SECONDS, Attempts, RetryState
from conductor.plan.reason import (
    AsWanted,
    Drifted,
    InterruptedChange,
    Mismatch,
    NeverDeployed,
    Paused,
    Starting,
    StoppedWithHost,
    WrongTraffic,
)
from conductor.plan.reconcile import (
    ApplyDrift,
    Condition,
    Decision,
    Leave,
    Observation,
    Recover,
    Repair,
    ReplicaHealth,
    Reroute,
    Start,
    attempted,
    decide,
    updated,
)
from conductor.plan.release import Hold, Release, Wanted
from conductor.plan.replica import Replica

RELEASE = Release(id="c1", service="web", revision="r1", image="i:r1", image_id="i", digest="d", definition={})
NEW = restore("new", {"image": "i", "count": 1, "health": {"none": True}})
HOLD = Hold(reason="holiday", who="ada", since="2024-05-01T00:00:00.000Z")
LONGEST = DELAYS_SECONDS[-1] * (1 + JITTER)
PASS = 5.0


def wanted(change: str = "c1") -> Wanted:
    return Wanted(service="web", release=RELEASE, change=change)


def seen(number: int, condition: str, release: str = "c1") -> ReplicaHealth:
    state = "exited" if condition == "exited" else "running"
    replica = Replica(
        id=f"i{number}", name=f"web-{number}", service="web", revision="r1", release=release, change=release,
        address=f"10.0.0.{number}:80", state=state,
    )  # fmt: skip
    return ReplicaHealth(replica, Condition(condition))


def observation(*conditions: str, count: int = 2, serving: str | None = "all", **fields: object) -> Observation:
    """Replicas 1, 2, … in these conditions (`stray` is a healthy one of another release). `serving`: all, none, or digits."""
    given = tuple(
        seen(n, "healthy", "old") if condition == "stray" else seen(n, condition)
        for n, condition in enumerate(conditions, 1)
    )
    live = [one.replica.address for one in given if one.replica.release == "c1"]
    chosen = live if serving == "all" else [f"10.0.0.{digit}:80" for digit in serving or ""]
    routed = None if serving is None else frozenset(chosen)
    return Observation(**{"wanted": wanted(), "replicas": given, "count": count, "serving": routed, **fields})


def endpoints(digits: str) -> tuple[str, ...]:
    return tuple(f"10.0.0.{digit}:80" for digit in digits)


def start(digits: str) -> Start:
    return Start(tuple(seen(int(digit), "exited").replica for digit in digits))


def reroute(digits: str) -> Reroute:
    return Reroute(endpoints(digits))


def repair(keep: str, count: int, serving: str = "") -> tuple[str, int, tuple[str, ...]]:
    """What `without_reason` makes of a repair."""
    return (keep, count, endpoints(serving))


def without_reason(decision: Decision) -> object:
    """A repair as the numbers of the replicas to keep, its count and endpoints; any other decision as it is."""
    if isinstance(decision, Repair):
        return ("".join(one.id[1:] for one in decision.keep), decision.count, decision.serving)
    return decision


AS_WANTED, WAIT = Leave(AsWanted()), Leave(Starting())


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        pytest.param(observation("healthy", "healthy"), AS_WANTED, id="as wanted"),
        pytest.param(observation("healthy", "starting"), WAIT, id="one is starting"),
        pytest.param(observation("healthy"), repair("1", 2), id="one is missing"),
        pytest.param(observation(), repair("", 2), id="all are missing"),
        pytest.param(observation("healthy", "exited"), repair("1", 2, "1"), id="one exited"),
        pytest.param(observation("healthy", "unhealthy"), repair("1", 2, "1"), id="one is unhealthy"),
        pytest.param(observation("unhealthy", "unhealthy"), repair("2", 2),
            id="all are unhealthy: one at a time, and none loses its traffic"),
        pytest.param(observation("unhealthy", count=1), repair("", 1), id="the only one is unhealthy"),
        pytest.param(observation("unhealthy", "unhealthy", "unhealthy", count=3), repair("23", 3), id="three unhealthy"),
        pytest.param(observation("unhealthy", "exited"), repair("", 2, "1"), id="an unhealthy one serves, one exited"),
        pytest.param(observation("healthy", "healthy", "healthy"), repair("12", 2, "12"), id="three, two are wanted"),
        pytest.param(observation("unhealthy", "healthy", "healthy"), repair("23", 2, "23"),
            id="the unhealthy one of three is removed"),
        pytest.param(observation("healthy", "healthy", "stray"), repair("12", 2), id="one of another release"),
        pytest.param(observation("healthy", "healthy", serving="1"), reroute("12"), id="a healthy one has no traffic"),
        pytest.param(observation("healthy", "healthy", serving=""), reroute("12"), id="none has traffic"),
        pytest.param(observation("healthy", "healthy", serving="129"), reroute("12"), id="a missing one has traffic"),
        pytest.param(observation("healthy", "healthy", serving=None), AS_WANTED, id="not routed"),
        pytest.param(observation("healthy", count=0), repair("", 0), id="stopped, and one runs"),
        pytest.param(observation("exited", count=0), repair("", 0), id="stopped, and an exited one is left"),
        pytest.param(observation(count=0), AS_WANTED, id="stopped"),
        pytest.param(observation("exited", paused=HOLD), Leave(Paused(HOLD)), id="paused"),
        pytest.param(observation(paused=HOLD, interrupted=True), Leave(Paused(HOLD)), id="paused with a change"),
        pytest.param(observation("exited", interrupted=True), Recover(), id="an interrupted change"),
        pytest.param(observation(interrupted=True, wanted=Wanted(service="web")), Recover(),
            id="an interrupted first deploy"),
        pytest.param(observation(wanted=Wanted(service="web")), Leave(NeverDeployed()), id="never deployed"),
        pytest.param(observation("exited", "exited", runtime_restarted=True), start("12"), id="after a reboot"),
        pytest.param(observation("starting", "starting", serving="1", runtime_restarted=True), WAIT,
            id="after a reboot a replica gets no traffic before it is healthy"),
        pytest.param(observation("unhealthy", "unhealthy", serving="2"), repair("2", 2, "12"),
            id="all are unhealthy, one after the other"),
        pytest.param(observation("starting", "unhealthy", serving="2"), WAIT, id="a new one gets traffic once healthy"),
        pytest.param(observation("starting", "unhealthy", serving="2", count=1), WAIT,
            id="the unhealthy one is removed only then"),
        pytest.param(observation("starting", "unhealthy", serving=None), repair("1", 2),
            id="without traffic a starting one counts"),
        pytest.param(observation("starting", "unhealthy", serving="9"), reroute("2"),
            id="a missing one has all the traffic"),
        pytest.param(observation("healthy", "healthy", drift=NEW), ApplyDrift(NEW), id="drifted"),
        pytest.param(observation("healthy", drift=NEW), repair("1", 2), id="drifted, and one is missing"),
        pytest.param(observation("healthy", "healthy", drift=NEW, paused=HOLD), Leave(Paused(HOLD)),
            id="drifted, and paused"),
        pytest.param(observation("healthy", "healthy", drift=NEW, interrupted=True), Recover(),
            id="drifted, with an interrupted change"),
        pytest.param(observation("healthy", "exited", "exited", runtime_restarted=True), start("2"),
            id="only what is missing is started"),
        pytest.param(observation("unhealthy", "exited", runtime_restarted=True), start("2"), id="beside an unhealthy one"),
        pytest.param(observation("stray", "exited", runtime_restarted=True), start("2"),
            id="one of another release does not count"),
        pytest.param(observation("healthy", "healthy", "exited", runtime_restarted=True), repair("12", 2, "12"),
            id="enough are running"),
        pytest.param(observation("exited", count=0, runtime_restarted=True), repair("", 0),
            id="stopped before the reboot"),
    ],
)  # fmt: skip
def test_first_decision(now: Observation, expected: object) -> None:
    assert without_reason(decide(now, RetryState(), 100.0, 0.5)) == expected


def state(**attempts: tuple[int, float]) -> RetryState:
    """A retry state with (count, last) by kind."""
    return RetryState(**{kind: Attempts(*one) for kind, one in attempts.items()})


ONE_MISSING = Mismatch(wanted=2, healthy=1)


@pytest.mark.parametrize(
    ("now", "before", "expected"),
    [
        pytest.param(observation("healthy"), state(repair=(0, 97.0)), Leave(ONE_MISSING, 102.0), id="within 5 s"),
        pytest.param(observation("healthy"), state(repair=(0, 95.0)), repair("1", 2), id="after 5 s"),
        pytest.param(observation("unhealthy", "exited", "stray", "healthy"), state(repair=(9, 97.0)), reroute("4"),
            id="unhealthy ones lose their traffic at once"),
        pytest.param(observation("unhealthy", "exited", "stray", "healthy", serving="4"), state(repair=(9, 97.0)),
            Leave(Mismatch(wanted=2, healthy=1, unhealthy=1, exited=1, other_release=1), 157.0), id="all counts"),
        pytest.param(observation("healthy", "healthy", serving="1"), state(reroute=(0, 97.0)),
            Leave(WrongTraffic(endpoints("12")), 102.0), id="getting traffic again is spaced"),
        pytest.param(observation("healthy", "healthy", serving="1"), state(reroute=(0, 95.0), repair=(9, 99.0)),
            reroute("12"), id="getting traffic again waits for no repair"),
        pytest.param(observation("healthy", "unhealthy"), state(repair=(0, 99.0), reroute=(0, 99.0)), reroute("1"),
            id="losing traffic is not spaced"),
        pytest.param(observation("healthy", "unhealthy"), state(repair=(0, 99.0), reroute=(1, 99.0)),
            Leave(Mismatch(wanted=2, healthy=1, unhealthy=1), 104.0), id="unless the reroute failed before"),
        pytest.param(observation(interrupted=True), state(repair=(9, 99.0)), Recover(), id="recovered at once"),
        pytest.param(observation("exited", count=1, runtime_restarted=True), state(repair=(0, 99.0)),
            Leave(StoppedWithHost(1), 104.0), id="started again no sooner than other repairs"),
        pytest.param(observation(interrupted=True), state(recover=(1, 97.0)), Leave(InterruptedChange(), 102.0),
            id="a failed recovery is retried"),
    ],
)  # fmt: skip
def test_decision_after_attempts(now: Observation, before: RetryState, expected: object) -> None:
    assert without_reason(decide(now, before, 100.0, 0.0)) == expected


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (observation("healthy"), ONE_MISSING),
        (observation(interrupted=True), InterruptedChange()),
        (observation("healthy", "healthy", serving="1"), WrongTraffic(endpoints("12"))),
        (observation("exited", runtime_restarted=True), StoppedWithHost(1)),
        (observation("healthy", "healthy", drift=NEW), Drifted()),
        (observation(count=0), AsWanted()),
    ],
    ids=lambda one: type(one).__name__,
)
def test_each_decision_has_a_reason(now: Observation, expected: object) -> None:
    assert decide(now, RetryState(), 1.0, 0.0).reason == expected


# Simulated hours: each decision is carried out on a simulated host.


class Simulated:
    """Passes of 5 s; `outcome(now)` is the condition of replicas that a repair starts, or "fails". Records each start."""

    def __init__(self, outcome: Callable[[float], str], count: int = 1) -> None:
        self.now = 1000.0
        self.state = RetryState()
        self.conditions: list[str] = []
        self.starts: list[float] = []
        self.change = "c1"
        self._outcome = outcome
        self._count = count

    def run(self, seconds: float, step: float = PASS, took: float = 0.7) -> None:
        until = self.now + seconds
        while self.now < until:
            self.run_pass(took)
            self.now += step

    def run_pass(self, took: float) -> None:
        now = observation(*self.conditions, count=self._count, serving=None, wanted=wanted(self.change))
        self.state = updated(self.state, now, self.now)
        decided = decide(now, self.state, self.now, random.random())
        if isinstance(decided, Leave):
            return
        assert isinstance(decided, Repair)
        missing = decided.count - len(decided.keep)
        if missing:
            self.starts.append(self.now)
        self.now += took
        outcome = self._outcome(self.now)
        failed = outcome == "fails"
        if not failed:
            kept = [c for c in self.conditions if c == "healthy"][: decided.count]
            self.conditions = [*kept, *[outcome] * missing]
        self.state = attempted(self.state, decided, self.now, failed=failed)

    def gaps(self) -> list[float]:
        return [b - a for a, b in itertools.pairwise(self.starts)]


@pytest.mark.parametrize("outcome", ["fails", "exited"], ids=["never passes its gate", "passes, and exits at once"])
def test_hours_of_exiting_at_once(outcome: str) -> None:
    host = Simulated(lambda _: outcome)
    host.run(8 * 3600, step=1.0)
    gaps = host.gaps()
    assert min(gaps) >= SPACING_SECONDS
    assert max(gaps) <= LONGEST + 3.0
    assert [round(gap) for gap in gaps[:5]] == sorted(round(gap) for gap in gaps[:5])
    assert min(gaps[6:]) >= DELAYS_SECONDS[-1]
    assert len(gaps) > 8 * 3600 / (LONGEST + 3.0) - 2
    assert host.starts[-1] > host.now - LONGEST - 3.0


def test_a_removed_fault_resets_the_delays() -> None:
    """Healthy within one delay; after a minute of health a new failure is repaired at once."""
    removed = 1000.0 + 3601  # the last pass before may end a second later
    host = Simulated(lambda now: "healthy" if now > removed else "fails")
    host.run(3600)
    assert host.conditions == []
    host.run(LONGEST + PASS)
    assert host.conditions == ["healthy"]
    host.run(RESET_SECONDS + PASS)
    assert host.state.repair.count == 0
    host.conditions = ["exited"]
    host.run(PASS)
    assert host.conditions == ["healthy"]


def test_delays_grow_while_replicas_exit_within_a_minute() -> None:
    """A replica that runs for half a minute each time is replaced with growing delays."""
    host = Simulated(lambda _: "healthy")
    for _ in range(20):
        host.run(30.0)
        host.conditions = ["exited"]
    assert max(host.gaps()) >= DELAYS_SECONDS[-1]
    assert host.state.repair.count >= 5


def test_a_change_of_a_command_resets_the_delays() -> None:
    host = Simulated(lambda _: "fails")
    host.run(1800)
    before = len(host.starts)
    host.change = "c2"
    host.run(12.0, step=1.0)
    assert len(host.starts) == before + 2


def test_an_own_change_resets_no_delays() -> None:
    before = RetryState(change="c1", own_change="c2", repair=Attempts(4, 90.0))
    assert updated(before, observation(count=1, wanted=wanted("c2")), 100.0).repair.count == 4
    assert updated(before, observation(count=1, wanted=wanted("c3")), 100.0).repair.count == 0


def test_a_reboot_is_no_failure_of_the_service() -> None:
    after = attempted(RetryState(), Start(()), 100.0, failed=False)
    assert after.repair == Attempts(0, 100.0)
    assert attempted(after, Start(()), 200.0, failed=True).repair.count == 1


def test_recovery_is_retried_with_growing_delays_of_its_own() -> None:
    now, interrupted = 1000.0, observation(interrupted=True)
    current, began = state(repair=(7, 1000.0)), []
    while now < 1600:
        current = updated(current, interrupted, now)
        if isinstance(decision := decide(interrupted, current, now, 0.0), Recover):
            began.append(now)
            current = attempted(current, decision, now, failed=True)
        now += 1.0
    assert [b - a for a, b in itertools.pairwise(began)][:7] == [5, 10, 20, 40, 60, 60, 60]
    current = updated(current, observation("healthy", "healthy"), now)
    assert decide(interrupted, updated(current, interrupted, now), now, 0.0) == Recover()


def test_repair_and_new_definition_alternate_while_both_fail() -> None:
    """No action within 5 s of another, and a definition that fails again and again delays no repair."""
    now, current, began, exited = 1000.0, RetryState(), [], observation("exited", count=1, drift=NEW)
    while now < 2000:
        current = updated(current, exited, now)
        if not isinstance(decision := decide(exited, current, now, 0.0), Leave):
            began.append((now, type(decision)))
            current = attempted(current, decision, now, failed=True)
        now += 1.0
    assert [kind for _, kind in began[:2]] == [Repair, ApplyDrift]
    assert min(b - a for (a, _), (b, _) in itertools.pairwise(began)) >= SPACING_SECONDS
    for kind in (Repair, ApplyDrift):
        gaps = [b - a for a, b in itertools.pairwise(at for at, one in began if one is kind)]
        assert gaps[-3:] == [pytest.approx(60, abs=SPACING_SECONDS)] * 3


def test_another_definition_is_applied_without_delay() -> None:
    before = RetryState(drift=NEW, apply_drift=Attempts(5, 90.0))
    assert decide(observation("healthy", drift=NEW, count=1), before, 100.0, 0.0) == Leave(Drifted(), 150.0)
    newer = msgspec.structs.replace(NEW, digest="newer")
    now = observation("healthy", drift=newer, count=1)
    assert decide(now, updated(before, now, 100.0), 100.0, 0.0) == ApplyDrift(newer)


def test_a_replica_that_cannot_be_removed_delays_no_repair() -> None:
    """Removal is retried with growing delays of its own, and does not count as a failed repair."""
    now, current, moments = 100.0, RetryState(), []
    leftover, exited = observation("healthy", "healthy", "stray"), observation("healthy", "exited", "stray")
    while len(moments) < 8:
        current = updated(current, leftover, now)
        decision = decide(leftover, current, now, 0.0)
        if isinstance(decision, Repair):
            moments.append(now)
            current = attempted(current, decision, now, failed=True)
        now += 1.0
    assert [b - a for a, b in itertools.pairwise(moments)] == [5, 10, 20, 40, 60, 60, 60]
    assert current.repair.count == 0
    now = moments[-1] + SPACING_SECONDS
    assert isinstance(decide(exited, updated(current, exited, now), now - 0.1, 0.0), Reroute)
    assert isinstance(decide(exited, updated(current, exited, now), now, 0.0), Repair)


# Over any state.

CONDITIONS = st.sampled_from(["healthy", "starting", "unhealthy", "exited", "stray"])
OBSERVATIONS = st.builds(
    lambda conditions, count, serving, restarted: observation(
        *conditions, count=count, serving=serving, runtime_restarted=restarted
    ),
    st.lists(CONDITIONS, max_size=5),
    st.integers(0, 4),
    st.one_of(st.just("all"), st.none(), st.text("12345", max_size=3)),
    st.booleans(),
)
TIMES = st.none() | st.floats(0, 100)
STATES = st.builds(
    lambda count, repaired, rerouted: RetryState(repair=Attempts(count, repaired), reroute=Attempts(0, rerouted)),
    st.integers(0, 50), TIMES, TIMES,
)  # fmt: skip


def running(now: Observation, *conditions: str) -> set[str]:
    return {one.replica.address for one in now.replicas if one.condition in conditions and one.replica.release == "c1"}


@given(OBSERVATIONS, STATES, st.floats(0, 1))
def test_a_repair_is_never_early_and_never_abandoned(now: Observation, before: RetryState, jitter: float) -> None:
    decision = decide(now, before, 100.0, jitter)
    if isinstance(decision, Repair) and before.repair.last is not None:
        assert 100.0 - before.repair.last >= SPACING_SECONDS
    if isinstance(decision, Leave) and decision.until is not None:
        assert 100.0 < decision.until <= 100.0 + LONGEST + SPACING_SECONDS
    much_later = decide(now, before, 1000.0, jitter)
    assert not isinstance(much_later, Leave) or much_later.until is None


@given(OBSERVATIONS)
def test_a_repair_ends_with_the_wanted_count(now: Observation) -> None:
    decision = decide(now, RetryState(), 100.0, 0.0)
    if isinstance(decision, Repair):
        kept = {one.address for one in decision.keep}
        assert len(kept) <= decision.count == now.count
        assert kept <= running(now, "healthy", "starting", "unhealthy")
        assert kept <= running(now, "healthy", "starting") or not running(now, "healthy", "starting")
    if isinstance(decision, Leave) and not running(now, "starting") - (now.serving or set()):
        assert now.count == len(now.replicas)


@given(OBSERVATIONS)
def test_traffic_is_never_taken_from_the_best_replicas(now: Observation) -> None:
    decision = decide(now, RetryState(), 100.0, 0.0)
    chosen = set(getattr(decision, "endpoints", ())) | set(getattr(decision, "serving", ()))
    if not chosen:
        return
    assert chosen <= running(now, "healthy", "starting", "unhealthy")
    if running(now, "healthy"):
        assert not chosen & running(now, "unhealthy")
        assert chosen & running(now, "healthy")
    elif now.serving and len(now.serving & running(now, "starting", "unhealthy")) <= now.count:
        assert len(chosen) >= len(now.serving & running(now, "starting", "unhealthy"))


@given(OBSERVATIONS, STATES)
def test_nothing_is_done_for_a_paused_service(now: Observation, before: RetryState) -> None:
    paused = msgspec.structs.replace(now, paused=HOLD, interrupted=True)
    assert decide(paused, before, 100.0, 0.0) == Leave(Paused(HOLD))
