"""What `supervise` decides, by cases, as properties over any state, and over simulated hours with a fake clock."""

import itertools
import random
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.definitions.load import restore
from conductor.plan.reconcile import (
    DELAYS_SECONDS,
    JITTER,
    PEACE_SECONDS,
    SPACING_SECONDS,
    Apply,
    Correct,
    Decision,
    Leave,
    Observation,
    Past,
    Point,
    ReplicaHealth,
    Revive,
    Settle,
    decide,
    reason,
    remember,
    tried,
)
from conductor.plan.values import Container, Release, Wanted

RELEASE = Release(service="web", revision="r1", image="i:r1", image_id="i", digest="d", change="c1", definition={})
NEW = restore("new", {"image": "i", "count": 1, "health": {"none": True}})
LONGEST = DELAYS_SECONDS[-1] * (1 + JITTER)
PASS = 5.0


def wanted(change: str = "c1") -> Wanted:
    return Wanted(service="web", release=RELEASE, change=change)


def seen(number: int, condition: str, change: str = "c1") -> ReplicaHealth:
    state = "exited" if condition == "exited" else "running"
    container = Container(
        id=f"i{number}", name=f"web-{number}", service="web", revision="r1", kind="service", digest="d",
        change=change, address=f"10.0.0.{number}:80", image_id="i", state=state,
    )  # fmt: skip
    return ReplicaHealth(container, condition)


def observation(*conditions: str, count: int = 2, served: str | None = "all", **fields: object) -> Observation:
    """Containers 1, 2, … in these conditions (`stray` is a good one of no live release). `served`: all, none, or digits."""
    given = tuple(
        seen(n, "good" if c == "stray" else c, "old" if c == "stray" else "c1") for n, c in enumerate(conditions, 1)
    )
    live = [one.container.address for one in given if one.container.change == "c1"]
    chosen = live if served == "all" else [f"10.0.0.{digit}:80" for digit in served or ""]
    in_nginx = None if served is None else frozenset(chosen)
    return Observation(**{"wanted": wanted(), "seen": given, "count": count, "served": in_nginx, **fields})


def ids(containers: tuple[Container, ...]) -> str:
    return "".join(c.id[1:] for c in containers)


def short(decided: Decision) -> str:
    """`keep 1 of 2, serve 1`, `point 12`, …"""
    match decided:
        case Leave():
            return f"leave: {decided.why}" + (f" until {decided.until:g}" if decided.until is not None else "")
        case Settle():
            return "settle"
        case Apply():
            return f"apply {decided.definition.id}"
        case Revive():
            return f"revive {ids(decided.containers)}"
        case Point():
            return "point " + "".join(a.split(":")[0][-1] for a in decided.addresses)
        case Correct():
            serving = "".join(a.split(":")[0][-1] for a in decided.serving)
            return f"keep {ids(decided.keep)} of {decided.count}" + (f", serve {serving}" if serving else "")


@pytest.mark.parametrize(
    ("now", "said"),
    [
        pytest.param(observation("good", "good"), "leave: as wanted", id="as wanted"),
        pytest.param(observation("good", "starting"), "leave: waits for what starts", id="one has time to start"),
        pytest.param(observation("good"), "keep 1 of 2", id="one is missing"),
        pytest.param(observation(), "keep  of 2", id="all are missing"),
        pytest.param(observation("good", "exited"), "keep 1 of 2, serve 1", id="one has exited"),
        pytest.param(observation("good", "bad"), "keep 1 of 2, serve 1", id="one is bad"),
        pytest.param(observation("bad", "bad"), "keep 2 of 2", id="all are bad: one at a time, and none leaves nginx"),
        pytest.param(observation("bad", count=1), "keep  of 1", id="the only one is bad"),
        pytest.param(observation("bad", "bad", "bad", count=3), "keep 23 of 3", id="three bad ones"),
        pytest.param(observation("bad", "exited"), "keep  of 2, serve 1", id="a bad one serves, one has exited"),
        pytest.param(observation("good", "good", "good"), "keep 12 of 2, serve 12", id="three where two are wanted"),
        pytest.param(observation("bad", "good", "good"), "keep 23 of 2, serve 23", id="the bad one of three goes"),
        pytest.param(observation("good", "good", "stray"), "keep 12 of 2", id="a stray goes"),
        pytest.param(observation("good", "good", served="1"), "point 12", id="a good one joins nginx"),
        pytest.param(observation("good", "good", served=""), "point 12", id="nginx knows nobody"),
        pytest.param(observation("good", "good", served="129"), "point 12", id="nginx knows somebody who is gone"),
        pytest.param(observation("good", "good", served=None), "leave: as wanted", id="no nginx"),
        pytest.param(observation("good", count=0), "keep  of 0", id="stopped, and one runs"),
        pytest.param(observation("exited", count=0), "keep  of 0", id="stopped, and one is left"),
        pytest.param(observation(count=0), "leave: as wanted", id="stopped"),
        pytest.param(observation("exited", paused="by ada"), "leave: by ada", id="paused"),
        pytest.param(observation(paused="by ada", dead_change=True), "leave: by ada", id="paused, and a change died"),
        pytest.param(observation("exited", dead_change=True), "settle", id="a change died"),
        pytest.param(observation(dead_change=True, wanted=Wanted(service="web")), "settle", id="the first change died"),
        pytest.param(observation(wanted=Wanted(service="web")), "leave: never deployed", id="never deployed"),
        pytest.param(observation("exited", "exited", daemon_was_away=True), "revive 12", id="after a reboot"),
        pytest.param(observation("starting", "starting", served="1", daemon_was_away=True), "leave: waits for what starts",
            id="at the start nobody comes back into nginx unseen"),
        pytest.param(observation("bad", "bad", served="2"), "keep 2 of 2, serve 12", id="all are bad, one after the other"),
        pytest.param(observation("starting", "bad", served="2"), "leave: waits for what starts",
            id="a new one joins when it is good"),
        pytest.param(observation("starting", "bad", served="2", count=1), "leave: waits for what starts", id="and only then the bad one goes"),
        pytest.param(observation("starting", "bad", served=None), "keep 1 of 2", id="without nginx it counts"),
        pytest.param(observation("starting", "bad", served="9"), "point 2", id="whom nginx knows is gone"),
        pytest.param(observation("good", "good", drift=NEW), "apply new", id="the definition has changed"),
        pytest.param(observation("good", drift=NEW), "keep 1 of 2", id="the definition has changed, and one is missing"),
        pytest.param(observation("good", "good", drift=NEW, paused="by ada"), "leave: by ada", id="changed, and paused"),
        pytest.param(observation("good", "good", drift=NEW, dead_change=True), "settle", id="changed, and a change died"),
        pytest.param(observation("good", "exited", "exited", daemon_was_away=True), "revive 2", id="only what is missing"),
        pytest.param(observation("bad", "exited", daemon_was_away=True), "revive 2", id="beside a bad one"),
        pytest.param(observation("stray", "exited", daemon_was_away=True), "revive 2", id="a stray counts for nothing"),
        pytest.param(observation("good", "good", "exited", daemon_was_away=True), "keep 12 of 2, serve 12", id="enough"),
        pytest.param(observation("exited", count=0, daemon_was_away=True), "keep  of 0", id="stopped before the reboot"),
    ],
)  # fmt: skip
def test_what_is_done_at_once(now: Observation, said: str) -> None:
    assert short(decide(now, Past(), 100.0, 0.5)) == said


@pytest.mark.parametrize(
    ("now", "past", "said"),
    [
        pytest.param(observation("good"), Past(last=97.0), "leave: 1 of 2 run and are healthy until 102", id="5 s"),
        pytest.param(observation("good"), Past(last=95.0), "keep 1 of 2", id="5 s are over"),
        pytest.param(
            observation("bad", "exited", "stray", "good"), Past(last=97.0, attempts=9), "point 4", id="leaves at once"
        ),
        pytest.param(
            observation("bad", "exited", "stray", "good", served="4"), Past(last=97.0, attempts=9),
            "leave: 1 of 2 run and are healthy, 1 unhealthy, 1 exited, 1 of no live release until 157", id="all said",
        ),
        pytest.param(observation("good", "good", served="1"), Past(pointed=97.0),
            "leave: healthy again, joins nginx until 102", id="joining again is spaced"),
        pytest.param(observation("good", "good", served="1"), Past(pointed=95.0, last=99.0, attempts=9), "point 12",
            id="joining waits for no correction"),
        pytest.param(observation("good", "bad"), Past(last=99.0, pointed=99.0), "point 1", id="leaving is not spaced"),
        pytest.param(observation("good", "bad"), Past(last=99.0, pointed=99.0, unpointable=True),
            "leave: 1 of 2 run and are healthy, 1 unhealthy until 104", id="but for an nginx that cannot be told"),
        pytest.param(observation(dead_change=True), Past(last=99.0, attempts=9), "settle", id="settled at once"),
        pytest.param(observation("exited", count=1, daemon_was_away=True), Past(last=99.0),
            "leave: 1 stopped with the host or with Docker until 104", id="started again no sooner than other corrections"),
        pytest.param(observation(dead_change=True), Past(settled=97.0, settles=1),
            "leave: a change died; it could not be settled until 102", id="settled again in time"),
    ],
)  # fmt: skip
def test_what_has_time(now: Observation, past: Past, said: str) -> None:
    assert short(decide(now, past, 100.0, 0.0)) == said


def test_each_decision_says_why() -> None:
    decided = [decide(s, Past(), 1.0, 0.0) for s in (observation("good"), observation(dead_change=True), observation("good", "good", served="1"), observation("exited", daemon_was_away=True), observation(count=0))]  # fmt: skip
    assert [type(one) for one in decided] == [Correct, Settle, Point, Revive, Leave]
    assert len({reason(one) for one in decided}) == 5


# Simulated hours: what is decided is done, by a host that behaves as it is told to.


class Simulated:
    """Passes of 5 s; `outcome(now)` is how the containers that a correction starts are after it. Notes each start."""

    def __init__(self, outcome: Callable[[float], str], count: int = 1) -> None:
        self.now = 1000.0
        self.past = Past()
        self.conditions: list[str] = []
        self.starts: list[float] = []
        self.change = "c1"
        self._outcome = outcome
        self._count = count

    def run(self, seconds: float, step: float = PASS, took: float = 0.7) -> None:
        until = self.now + seconds
        while self.now < until:
            self.look(took)
            self.now += step

    def look(self, took: float) -> None:
        now = observation(*self.conditions, count=self._count, served=None, wanted=wanted(self.change))
        self.past = remember(self.past, now, self.now)
        decided = decide(now, self.past, self.now, random.random())
        if isinstance(decided, Leave):
            return
        assert isinstance(decided, Correct)
        missing = decided.count - len(decided.keep)
        if missing:
            self.starts.append(self.now)
        self.now += took
        outcome = self._outcome(self.now)
        failed = outcome == "fails"
        if not failed:
            kept = [c for c in self.conditions if c == "good"][: decided.count]
            self.conditions = [*kept, *[outcome] * missing]
        self.past = tried(self.past, decided, self.now, failed=failed)

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


def test_the_fault_is_removed() -> None:
    """Back within one delay, and after a minute of peace a new failure is mended at once."""
    removed = 1000.0 + 3601  # the last look before may end a second later
    host = Simulated(lambda now: "good" if now > removed else "fails")
    host.run(3600)
    assert host.conditions == []
    host.run(LONGEST + PASS)
    assert host.conditions == ["good"]
    host.run(PEACE_SECONDS + PASS)
    assert host.past.attempts == 0
    host.conditions = ["exited"]
    host.run(PASS)
    assert host.conditions == ["good"]


def test_no_peace_no_reset() -> None:
    """One that lives half a minute each time is retried ever later."""
    host = Simulated(lambda _: "good")
    for _ in range(20):
        host.run(30.0)
        host.conditions = ["exited"]
    assert max(host.gaps()) >= DELAYS_SECONDS[-1]
    assert host.past.attempts >= 5


def test_what_somebody_else_commits_ends_the_delays() -> None:
    host = Simulated(lambda _: "fails")
    host.run(1800)
    before = len(host.starts)
    host.change = "c2"
    host.run(12.0, step=1.0)
    assert len(host.starts) == before + 2


def test_what_it_commits_itself_ends_no_delays() -> None:
    past = Past(change="c1", ours="c2", attempts=4, last=90.0)
    assert remember(past, observation(count=1, wanted=wanted("c2")), 100.0).attempts == 4
    assert remember(past, observation(count=1, wanted=wanted("c3")), 100.0).attempts == 0


def test_a_reboot_is_no_fault_of_the_service() -> None:
    past = tried(Past(attempts=0), Revive(()), 100.0, failed=False)
    assert (past.attempts, past.last) == (0, 100.0)
    assert tried(past, Revive(()), 200.0, failed=True).attempts == 1


def test_settling_is_tried_again_ever_later_and_begins_anew_each_time() -> None:
    past, now, dead = Past(attempts=7, last=1000.0), 1000.0, observation(dead_change=True)
    begun = []
    while now < 1600:
        past = remember(past, dead, now)
        if isinstance(decided := decide(dead, past, now, 0.0), Settle):
            begun.append(now)
            past = tried(past, decided, now, failed=True)
        now += 1.0
    assert [b - a for a, b in itertools.pairwise(begun)][:7] == [5, 10, 20, 40, 60, 60, 60]
    past = remember(past, observation("good", "good"), now)
    assert short(decide(dead, remember(past, dead, now), now, 0.0)) == "settle"


def test_a_new_definition_and_the_old_one_take_turns_while_both_fail() -> None:
    """No action within 5 s of another, and a definition that fails again and again keeps no correction waiting."""
    past, now, begun, ill = Past(), 1000.0, [], observation("exited", count=1, drift=NEW)
    while now < 2000:
        past = remember(past, ill, now)
        if not isinstance(decided := decide(ill, past, now, 0.0), Leave):
            begun.append((now, type(decided)))
            past = tried(past, decided, now, failed=True)
        now += 1.0
    assert [kind for _, kind in begun[:2]] == [Correct, Apply]
    assert min(b - a for (a, _), (b, _) in itertools.pairwise(begun)) >= SPACING_SECONDS
    for kind in (Correct, Apply):
        gaps = [b - a for a, b in itertools.pairwise(at for at, one in begun if one is kind)]
        assert gaps[-3:] == [pytest.approx(60, abs=SPACING_SECONDS)] * 3


def test_another_definition_is_applied_without_delay() -> None:
    past = Past(drift=NEW, applies=5, applied=90.0)
    newer = msgspec.structs.replace(NEW, digest="newer")
    assert short(decide(observation("good", drift=NEW, count=1), past, 100.0, 0.0)).startswith("leave: the definition")
    now = observation("good", drift=newer, count=1)
    assert short(decide(now, remember(past, now, 100.0), 100.0, 0.0)) == "apply new"


# Over any state.

CONDITIONS = st.sampled_from(["good", "starting", "bad", "exited", "stray"])
STATES = st.builds(
    lambda conditions, count, served, away: observation(*conditions, count=count, served=served, daemon_was_away=away),
    st.lists(CONDITIONS, max_size=5),
    st.integers(0, 4),
    st.one_of(st.just("all"), st.none(), st.text("12345", max_size=3)),
    st.booleans(),
)
PASTS = st.builds(
    lambda attempts, last, pointed: Past(attempts=attempts, last=last, pointed=pointed),
    st.integers(0, 50), st.none() | st.floats(0, 100), st.none() | st.floats(0, 100),
)  # fmt: skip


def runs(now: Observation, *conditions: str) -> set[str]:
    return {s.container.address for s in now.seen if s.condition in conditions and s.container.change == "c1"}


def test_what_cannot_be_removed_delays_no_start() -> None:
    """It is tried again ever later, and is no reason to count anything as tried for the service."""
    past, now, moments = Past(), 100.0, []
    leftover, died = observation("good", "good", "stray"), observation("good", "exited", "stray")
    while len(moments) < 8:
        past = remember(past, leftover, now)
        decided = decide(leftover, past, now, 0.0)
        if isinstance(decided, Correct):
            moments.append(now)
            past = tried(past, decided, now, failed=True)
        now += 1.0
    assert [b - a for a, b in itertools.pairwise(moments)] == [5, 10, 20, 40, 60, 60, 60]
    assert past.attempts == 0
    now = moments[-1] + SPACING_SECONDS
    assert isinstance(decide(died, remember(past, died, now), now - 0.1, 0.0), Point)
    assert isinstance(decide(died, remember(past, died, now), now, 0.0), Correct)


@given(STATES, PASTS, st.floats(0, 1))
def test_a_correction_is_never_early_and_never_forgotten(now: Observation, past: Past, jitter: float) -> None:
    decided = decide(now, past, 100.0, jitter)
    if isinstance(decided, Correct) and past.last is not None:
        assert 100.0 - past.last >= SPACING_SECONDS
    if isinstance(decided, Leave) and decided.until is not None:
        assert 100.0 < decided.until <= 100.0 + LONGEST + SPACING_SECONDS
    settled = decide(now, past, 1000.0, jitter)
    assert not isinstance(settled, Leave) or settled.until is None


@given(STATES)
def test_a_correction_ends_with_the_count(now: Observation) -> None:
    decided = decide(now, Past(), 100.0, 0.0)
    if isinstance(decided, Correct):
        kept = {c.address for c in decided.keep}
        assert len(kept) <= decided.count == now.count
        assert kept <= runs(now, "good", "starting", "bad")
        assert kept <= runs(now, "good", "starting") or not runs(now, "good", "starting")
    if isinstance(decided, Leave) and not runs(now, "starting") - (now.served or set()):
        assert now.count == len(now.seen)


@given(STATES)
def test_who_can_serve_is_never_taken_out_for_nobody(now: Observation) -> None:
    decided = decide(now, Past(), 100.0, 0.0)
    addresses = set(getattr(decided, "addresses", ())) | set(getattr(decided, "serving", ()))
    if not addresses:
        return
    assert addresses <= runs(now, "good", "starting", "bad")
    if runs(now, "good"):
        assert not addresses & runs(now, "bad")
        assert addresses & runs(now, "good")
    elif now.served and len(now.served & runs(now, "starting", "bad")) <= now.count:
        assert len(addresses) >= len(now.served & runs(now, "starting", "bad"))


@given(STATES, PASTS)
def test_paused_is_paused(now: Observation, past: Past) -> None:
    paused = msgspec.structs.replace(now, paused="by ada: holiday", dead_change=True)
    assert decide(paused, past, 100.0, 0.0) == Leave("by ada: holiday")
