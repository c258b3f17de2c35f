"""Where requests go while a repair starts replacements: old replicas may fail or become healthy again meanwhile."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from conductor.change.context import Context
from conductor.errors import ConductorError, LockYielded
from conductor.plan.backoff import SPACING_SECONDS
from conductor.plan.reconcile import Condition, Observation, ReplicaHealth, is_urgent, reroute
from conductor.plan.route import Cutover, Route
from conductor.plan.transition import Transition

POLL_SECONDS = 0.25
Conditions = Callable[[], Mapping[str, tuple[Condition, str]]]


class _SupersededError(Exception):
    """The repair has switched traffic already."""


@contextlib.contextmanager
def following_health(
    context: Context, transition: Transition, observation: Observation, serving: tuple[str, ...], conditions: Conditions
) -> Iterator[None]:
    """Send requests to `serving` unless it is empty, and then to the replicas of `observation` that are healthy, until the end of
    the block or the cutover of the repair. `conditions` returns the condition and the answer of each running replica.
    """
    if not transition.add or observation.serving is None:
        yield
        return
    ended = threading.Event()

    def follow() -> None:
        endpoints, failed, switched = serving, False, context.clock.monotonic()
        with contextlib.suppress(_SupersededError):
            while True:
                if endpoints:
                    failed, switched = not _switch(context, transition, endpoints), context.clock.monotonic()
                if ended.wait(POLL_SECONDS):
                    return
                spaced = context.clock.monotonic() - switched >= SPACING_SECONDS
                wanted = _wanted(context, observation, conditions())
                endpoints = wanted.endpoints if wanted and (spaced or (wanted.urgent and not failed)) else ()

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


class _Wanted(NamedTuple):
    endpoints: tuple[str, ...]
    urgent: bool


def _wanted(context: Context, observation: Observation, found: Mapping[str, tuple[Condition, str]]) -> _Wanted | None:
    """Return where requests should go now; None when they already do. A replica that has exited has no condition."""
    exited = (Condition.EXITED, "")
    replicas = tuple(ReplicaHealth(one.replica, found.get(one.replica.id, exited)[0]) for one in observation.replicas)
    with contextlib.suppress(ConductorError):
        serving = context.traffic.serving(observation.wanted.service)
        now = msgspec.structs.replace(observation, replicas=replicas, serving=serving)
        if (traffic := reroute(now)) is not None:
            return _Wanted(traffic.endpoints, is_urgent(traffic, now))
    return None


def _switch(context: Context, transition: Transition, endpoints: tuple[str, ...]) -> bool:
    """Return False after a failure, which is not reported: the cutover of the repair follows, and reports or fixes it."""
    service, new = transition.service, transition.new

    def refuse_if_superseded(_cutover: Cutover) -> None:
        """Raise when the repair itself has switched traffic. The traffic layer calls this before it changes anything."""
        journal = context.store.journal(service)
        switched = journal is not None and journal.change == new.change and journal.cutover is not None
        if switched or context.store.wanted(service).change == new.change:
            raise _SupersededError

    with contextlib.suppress(ConductorError, LockYielded):
        route = Route(transition.definition, endpoints, new.live.template, new.maintenance)
        context.traffic.switch([route], refuse_if_superseded)
        return True
    return False
