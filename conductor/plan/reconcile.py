"""What `supervise` does about one service, decided from what is wanted, what is seen, and what was tried before (pure).

Level-triggered: nothing is remembered but the last attempts, so a pass that is missed or made twice changes nothing.
"""

from typing import Literal

import msgspec

from conductor.definitions.model import Definition
from conductor.plan.values import Container, Wanted

SPACING_SECONDS = 5.0  # between two corrective actions on one service
DELAYS_SECONDS = (0.0, 5.0, 10.0, 20.0, 40.0, 60.0)  # by how often it was tried without 60 s of peace; never given up
PEACE_SECONDS = 60.0  # healthy for so long, and the delays begin anew
JITTER = 0.1  # upwards only, so that services that died together are not retried together

Condition = Literal["good", "starting", "bad", "exited"]


class ReplicaHealth(msgspec.Struct, frozen=True):
    """A container of the service and how it is: `starting` has time left to become good."""

    container: Container
    condition: Condition


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One service now. `served` are the addresses that nginx sends requests to (None: it has no nginx), `count` how many
    containers shall run, `dead_change` whether a journal has no process any more, `paused` why it is to be left alone,
    `daemon_was_away` whether this is the first look since the daemon came (back), `drift` the definition that is to be
    applied, as it has changed since the release."""

    wanted: Wanted
    seen: tuple[ReplicaHealth, ...]
    count: int
    served: frozenset[str] | None = None
    dead_change: bool = False
    paused: str = ""
    daemon_was_away: bool = False
    drift: Definition | None = None


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """What was tried: `attempts` since it last had peace, `last` when the latest one ended, `calm_since` since when all is
    as wanted; `settles` and `settled` likewise for a change that died, `applies` and `applied` for the definition `drift`,
    `removals` and `removed` for what only has to go; `pointed` when nginx was last told, `unpointable` whether that failed.
    `change` is the latest commit, `ours` the one that an attempt of our own makes. Times in seconds of one clock; None is never."""

    change: str = ""
    ours: str = ""
    attempts: int = 0
    last: float | None = None
    calm_since: float | None = None
    settles: int = 0
    settled: float | None = None
    drift: Definition | None = None
    applies: int = 0
    applied: float | None = None
    removals: int = 0
    removed: float | None = None
    pointed: float | None = None
    unpointable: bool = False


class Leave(msgspec.Struct, frozen=True):
    """Nothing to do, for a reason; `until` when it is only not yet."""

    why: str
    until: float | None = None


class Settle(msgspec.Struct, frozen=True):
    """Finish or undo a change that died."""


class Revive(msgspec.Struct, frozen=True):
    """Start containers again where they are: the host or the daemon went down under them."""

    containers: tuple[Container, ...]


class Point(msgspec.Struct, frozen=True):
    """Send requests to exactly these addresses."""

    addresses: tuple[str, ...]


class Correct(msgspec.Struct, frozen=True, kw_only=True):
    """Keep these containers, start what is missing of `count`, and let all others go. Meanwhile requests go to `serving`,
    unless it is empty."""

    keep: tuple[Container, ...]
    count: int
    why: str
    serving: tuple[str, ...] = ()

    @property
    def starts(self) -> bool:
        """Whether containers are started, or only removed."""
        return self.count > len(self.keep)


class Apply(msgspec.Struct, frozen=True):
    """Start the live revision anew with this definition, and let go of all that runs."""

    definition: Definition


Action = Settle | Revive | Point | Correct | Apply
Decision = Leave | Action


def remember(past: Past, observation: Observation, now: float) -> Past:
    """The past as of this look: peace ends the delays, and so does whatever somebody else has committed."""
    change = observation.wanted.change
    if change != past.change:
        attempts = past.attempts if change == past.ours else 0
        past = msgspec.structs.replace(past, change=change, attempts=attempts)
    if not observation.dead_change:
        past = msgspec.structs.replace(past, settles=0, settled=None)
    if observation.drift != past.drift:
        past = msgspec.structs.replace(past, drift=observation.drift, applies=0)
    if _correct(observation) is None:
        past = msgspec.structs.replace(past, removals=0)
    if not _calm(observation):
        return msgspec.structs.replace(past, calm_since=None)
    since = now if past.calm_since is None else past.calm_since
    attempts = 0 if now - since >= PEACE_SECONDS else past.attempts
    return msgspec.structs.replace(past, calm_since=since, attempts=attempts)


def tried(past: Past, decided: "Decision", now: float, *, failed: bool) -> Past:
    """The past once `decided` has been done, or has failed."""
    if isinstance(decided, Settle):
        return msgspec.structs.replace(past, settles=past.settles + 1, settled=now)
    if isinstance(decided, Point):
        return msgspec.structs.replace(past, pointed=now, unpointable=failed)
    if isinstance(decided, Apply):
        return msgspec.structs.replace(past, applies=past.applies + 1, applied=now, calm_since=None)
    if isinstance(decided, Correct) and not decided.starts:
        return msgspec.structs.replace(past, removals=past.removals + 1, removed=now)
    more = 0 if isinstance(decided, Revive) and not failed else 1  # that the host went down is no fault of the service
    return msgspec.structs.replace(past, attempts=past.attempts + more, last=now, calm_since=None)


def decide(observation: Observation, past: Past, now: float, jitter: float) -> Decision:
    """What to do now; `jitter` is a random number from 0 to 1."""
    if observation.paused:
        return Leave(observation.paused)
    if observation.dead_change:
        due = _due(past.settles, past.settled, jitter)
        return Settle() if now >= due else Leave("a change died; it could not be settled", due)
    if observation.wanted.release is None:
        return Leave("never deployed")
    free = max(_due(0, moment, 0.0) for moment in (past.last, past.applied, past.removed))
    due = max(_due(past.attempts, past.last, jitter), free)
    applies_at = max(_due(past.applies, past.applied, jitter), free)
    revive = _revivable(observation)
    if revive:
        return Revive(revive) if now >= due else Leave(f"{len(revive)} stopped with the host or with Docker", due)
    point, correct = _point(observation), _correct(observation)
    if correct is not None and not correct.starts:
        due = max(_due(past.removals, past.removed, jitter), free)
    if observation.drift is not None and (correct is None or past.attempts) and now >= applies_at:
        return Apply(observation.drift)  # also when correcting has failed: the new definition may be the cure
    if correct is not None and now >= due:
        return msgspec.structs.replace(correct, serving=point.addresses) if point else correct
    pointable = _pointable(past, observation, point) if point else 0.0
    if point is not None and now >= pointable:
        return point
    if correct is not None:
        return Leave(correct.why, due)
    if observation.drift is not None and point is None:
        return Leave("the definition has changed; it could not be applied", applies_at)
    if point is not None:
        return Leave("healthy again, joins nginx", pointable)
    return Leave("as wanted" if _calm(observation) else "waits for what starts")


def reason(decided: Decision) -> str:
    """Why, for people."""
    match decided:
        case Leave() | Correct():
            return decided.why
        case Settle():
            return "a change died: finish or undo it"
        case Revive():
            return f"{len(decided.containers)} stopped with the host or with Docker: start them again"
        case Apply():
            return "the definition has changed: start it anew"
        case Point():
            return f"requests go to {', '.join(decided.addresses)}"


def _due(attempts: int, last: float | None, jitter: float) -> float:
    """When the next action may begin."""
    if last is None:
        return 0.0
    delay = max(SPACING_SECONDS, DELAYS_SECONDS[min(attempts, len(DELAYS_SECONDS) - 1)])
    return last + delay * (1 + JITTER * jitter)


def _pointable(past: Past, observation: Observation, point: Point) -> float:
    """A bad one leaves nginx at once, and when all are bad they are back at once; one that is good again has time, and so
    has an nginx that cannot be told."""
    urgent = set(point.addresses) < (observation.served or frozenset()) or not _live(observation, "good")
    if past.pointed is None or (urgent and not past.unpointable):
        return 0.0
    return past.pointed + SPACING_SECONDS


def _calm(observation: Observation) -> bool:
    """What only has to go, and may not be removable, disturbs nobody."""
    return not observation.dead_change and len(_live(observation, "good")) == observation.count


def _live(observation: Observation, *conditions: Condition) -> tuple[Container, ...]:
    """Containers of the live release in one of these conditions, in the order of the conditions."""
    change = observation.wanted.release.change if observation.wanted.release else ""
    return tuple(
        one.container
        for condition in conditions
        for one in observation.seen
        if one.condition == condition and one.container.change == change
    )


def _revivable(observation: Observation) -> tuple[Container, ...]:
    if not observation.daemon_was_away:
        return ()
    missing = observation.count - len(_live(observation, "good", "starting", "bad"))
    return _live(observation, "exited")[: max(0, missing)]


def _point(observation: Observation) -> Point | None:
    """Where requests should go: to the good ones; when none is good, to all that are bad, as none is better, and to those
    starting that they go to already; else to all that start. None: they do already."""
    if observation.served is None or observation.count == 0:
        return None
    starting = [c for c in _live(observation, "starting") if c.address in observation.served]
    good = [*_live(observation, "good"), *starting][: observation.count]
    known = [*starting, *_live(observation, "bad")] or _live(observation, "starting")
    to = good if _live(observation, "good") else known[: observation.count]
    addresses = tuple(c.address for c in to)
    return Point(addresses) if addresses and set(addresses) != observation.served else None


def _correct(observation: Observation) -> Correct | None:
    """All bad ones are replaced one at a time: a shared cause must not empty the service. Those that start and are not in
    nginx are waited for: one that is kept joins it."""
    well, bad = _live(observation, "good", "starting"), _live(observation, "bad")
    keep = (well or bad[1:])[: observation.count]
    if len(keep) == observation.count and len(observation.seen) == len(keep):
        return None
    joining = {c.address for c in _live(observation, "starting") if c in keep}
    if observation.served is not None and not joining <= observation.served:
        return None
    return Correct(keep=keep, count=observation.count, why=_why(observation, len(well), len(bad)))


def _why(observation: Observation, well: int, bad: int) -> str:
    exited = len(_live(observation, "exited"))
    said = [
        f"{well} of {observation.count} run and are healthy" if observation.count else f"{well} run, none are wanted"
    ]
    said += [f"{bad} unhealthy"] * bool(bad) + [f"{exited} exited"] * bool(exited)
    strays = len(observation.seen) - well - bad - exited
    return ", ".join([*said, *[f"{strays} of no live release"] * bool(strays)])
