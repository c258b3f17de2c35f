"""Old replicas that a deploy does not wait for (`stop: {wait: false}`): they have received the stop signal and get no traffic.

They are recorded in the wanted state of their service, under its lock. `supervise` and every change remove those that have
exited, and kill those whose time is over.
"""

from collections.abc import Callable, Iterable, Sequence

import msgspec

from conductor.change.context import Context
from conductor.change.service_change import store_log
from conductor.clock import Clock
from conductor.definitions.load import restore
from conductor.definitions.model import Service
from conductor.errors import ConductorError
from conductor.plan.release import Release, Retiring, Wanted
from conductor.plan.replica import Replica
from conductor.times import duration_text


def record_retiring(context: Context, replicas: Sequence[Replica], release: Release, grace: float) -> None:
    """Record replicas of one `release` that have just received the stop signal and have `grace` seconds to exit."""
    until, ends = context.clock.wall() + grace, context.clock.monotonic() + grace
    wanted = context.store.wanted(replicas[0].service)
    added = tuple(
        Retiring(id=one.id, grace=float(grace), until=until, ends=ends, definition=release.definition)
        for one in replicas
    )
    context.store.write_wanted(msgspec.structs.replace(wanted, retiring=wanted.retiring + added))


def due(wanted: Wanted, replicas: Iterable[Replica], clock: Clock) -> bool:
    """Return whether a retiring replica has to be removed now."""
    if not wanted.retiring:
        return False
    found = {one.id: one for one in replicas}
    return any(_is_due(one, found.get(one.id), clock) for one in wanted.retiring)


def clean_up_retiring(context: Context, service: str, warn: Callable[[str], None]) -> int:
    """Remove the retiring replicas that are due; return how many others still run. A removal that fails is a warning, and the
    next call retries. Raise if it is not known which ones run, or the result cannot be stored."""
    wanted = context.store.wanted(service)
    if not wanted.retiring:
        return 0
    found, clock = {one.id: one for one in context.runtime.containers(service).replicas}, context.clock
    left = tuple(
        one
        for one in wanted.retiring
        if not _is_due(one, replica := found.get(one.id), clock)
        or (replica is not None and not _remove(context, one, replica, warn))
    )
    if left != wanted.retiring:
        context.store.write_wanted(msgspec.structs.replace(wanted, retiring=left))
    return sum(not _is_due(one, found.get(one.id), clock) for one in left)


def _is_due(one: Retiring, replica: Replica | None, clock: Clock) -> bool:
    if replica is None or replica.state not in {"running", "paused"}:
        return True
    return one.is_over(clock.wall(), clock.monotonic())


def _remove(context: Context, one: Retiring, replica: Replica, warn: Callable[[str], None]) -> bool:
    """Keep the log of a replica and remove it; False when that failed."""
    try:
        definition = restore(replica.service, one.definition) if one.definition else None
        if definition:
            store_log(context, replica, definition)
        context.runtime.remove(replica.id)
    except ConductorError as error:
        warn(error.sentence)
        return False
    if replica.running:
        warn(killed_text(replica.name, one.grace, definition.service if definition else None))
    return True


def killed_text(name: str, grace: float, service: Service | None) -> str:
    """Return a warning about a killed replica, with advice if it has no init process: its app is then process 1, for which
    the kernel ignores a signal without a handler."""
    advice = ""
    if service is not None and not service.init:
        advice = f"; unless the app needs more time, set init: true or handle {service.stop.signal} in the app"
    return f"{name} did not stop within {duration_text(grace)} and was killed{advice}"
