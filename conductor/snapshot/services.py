"""The services of this host: wanted and running side by side, with a note for every difference.

A problem of one service never hides the others: a damaged state file, an invalid definition or a service that is no longer
defined is a condition of that service's row.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from conductor.change.context import Context
from conductor.definitions.environment import redaction
from conductor.definitions.load import Definitions, restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.plan.release import Wanted
from conductor.plan.replica import CheckResult, Replica
from conductor.plan.route import TrafficState
from conductor.plan.transition import wanted_count, was_routed
from conductor.snapshot import notes
from conductor.snapshot.notes import AnyNote
from conductor.snapshot.rows import CheckOutcome, ReplicaRow, ServiceCondition, ServiceRow
from conductor.snapshot.service_notes import is_live, service_notes
from conductor.snapshot.state_notes import current_pause, supervisor_status
from conductor.state.supervisor_status import ReplicaStatus, ServiceStatus, published_health

T = TypeVar("T")

CALLS_AT_ONCE = 16  # services at once, and replicas of each


class HostFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the rows need besides the state files: all replicas, the state of the traffic layer, and what `supervise` knows of
    each service and of the health of each replica, by container id. Other replicas are checked now."""

    replicas: Sequence[Replica]
    statuses: Mapping[str, ServiceStatus]
    health: Mapping[str, ReplicaStatus]
    traffic: TrafficState


def service_rows(
    definitions: Definitions,
    context: Context,
    only: str | None = None,
    *,
    probe: bool = False,
    traffic: TrafficState | None = None,
) -> list[ServiceRow]:
    """Return a row for each defined service and each other one that has a state or replicas; or only for `only`.

    The health is what a running `supervise` published. Replicas without a current result are checked now; with `probe`, all of them.
    `traffic` is the state of the traffic layer; it is read if absent.
    """
    found = context.runtime.containers(only).replicas
    others = {*context.store.services(), *(one.service for one in found)}.difference(definitions.ids)
    ids = (*definitions.ids, *sorted(others))
    if only is not None:
        definitions.require_known(only, ids)
    supervisor = supervisor_status(context)
    wall = context.clock.wall()
    facts = HostFacts(
        replicas=found,
        statuses=supervisor.services if supervisor is not None else {},
        health={} if probe else published_health(context.host.runtime_dir, supervisor, wall),
        traffic=traffic or context.traffic.state(),
    )
    return rows_of(definitions, context, [service for service in ids if only in {None, service}], facts)


def rows_of(definitions: Definitions, context: Context, services: Sequence[str], facts: HostFacts) -> list[ServiceRow]:
    """Return a row for each of these services."""

    def row(service: str) -> ServiceRow:
        return _row(
            definitions, context, service, by_service.get(service, []), status=facts.statuses.get(service),
            health=facts.health, traffic=facts.traffic,
        )  # fmt: skip

    def waits(service: str) -> bool:
        """Return whether the row needs a health check, or a call for the image of a service without a running replica."""
        running = [one.id for one in by_service.get(service, []) if one.running]
        return not running or any(one not in facts.health for one in running)

    by_service: dict[str, list[Replica]] = {}
    for replica in facts.replicas:
        by_service.setdefault(replica.service, []).append(replica)
    waiting = _at_once({one: functools.partial(row, one) for one in services if waits(one)})
    return [waiting[one] if one in waiting else row(one) for one in services]


def _at_once(calls: Mapping[str, Callable[[], T]]) -> dict[str, T]:
    """Make calls that wait for something, at once, and return their results by key."""
    if not calls:
        return {}
    from concurrent.futures import ThreadPoolExecutor  # it imports `logging`

    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        made = {key: pool.submit(call) for key, call in calls.items()}
        return {key: one.result() for key, one in made.items()}


def _row(
    definitions: Definitions,
    context: Context,
    service: str,
    replicas: Sequence[Replica],
    *,
    status: ServiceStatus | None,
    health: Mapping[str, ReplicaStatus],
    traffic: TrafficState,
) -> ServiceRow:
    defined = definitions.services.get(service)
    try:
        wanted = context.store.wanted(service)
        released = restore(service, wanted.release.definition, defined) if wanted.release else None
    except ConductorError as error:
        return _damaged(context, service, replicas, error)
    rows = _checked(context, released or defined, wanted, replicas, health)
    live = [row for row, one in zip(rows, replicas, strict=True) if one.running and is_live(one, wanted)]
    healthy = sum(row.passes for row in live)
    count_from = defined or released
    count = wanted_count(wanted, count_from) if count_from else len(live)
    needed = was_routed(wanted) and count > 0
    found = service_notes(
        definitions, context, wanted, released=released, status=status, replicas=replicas,
        traffic=traffic if needed else TrafficState.RUNNING, missing=len(live) < count,
    )  # fmt: skip
    return ServiceRow(
        service=service,
        revision=wanted.release.revision if wanted.release else None,
        wanted=count,
        running=len(live),
        healthy=healthy,
        condition=_condition(definitions, wanted, count, len(live), healthy, found=found),
        scale=wanted.scale,
        stopped=wanted.stopped,
        paused=current_pause(context, wanted),
        maintenance=wanted.maintenance.hold if wanted.maintenance else None,
        notes=found,
        replicas=tuple(rows),
    )


def _damaged(context: Context, service: str, replicas: Sequence[Replica], error: ConductorError) -> ServiceRow:
    return ServiceRow(
        service=service,
        running=sum(one.running for one in replicas),
        condition=ServiceCondition.DAMAGED_STATE,
        notes=(notes.DamagedState.of(error),),
        replicas=tuple(_replica_row(context, one, None) for one in replicas),
    )


def _condition(
    definitions: Definitions, wanted: Wanted, count: int, running: int, healthy: int, *, found: Sequence[AnyNote]
) -> ServiceCondition:
    if any(isinstance(note, notes.DamagedState) for note in found):
        return ServiceCondition.DAMAGED_STATE
    if wanted.service not in definitions.ids:
        return ServiceCondition.UNDEFINED
    if wanted.service not in definitions.services:
        return ServiceCondition.INVALID_DEFINITION
    if wanted.release is None:
        lost = any(isinstance(note, notes.Unrecorded) for note in found)
        return ServiceCondition.NEEDS_ATTENTION if lost else ServiceCondition.NEVER_DEPLOYED
    if running < count:
        return ServiceCondition.MISSING
    if healthy < count:  # this matters more than one too many, which is normal while a replica is replaced
        return ServiceCondition.UNHEALTHY
    if running > count:
        return ServiceCondition.SURPLUS
    if any(isinstance(note, notes.TrafficDown | notes.TrafficNotLoaded | notes.TrafficNotAnswering) for note in found):
        return ServiceCondition.TRAFFIC_DOWN
    if any(notes.needs_operator(note) for note in found):
        return ServiceCondition.NEEDS_ATTENTION
    if wanted.stopped:
        return ServiceCondition.STOPPED
    if wanted.maintenance:
        return ServiceCondition.MAINTENANCE
    paused = any(isinstance(note, notes.Paused) for note in found)
    return ServiceCondition.PAUSED if paused else ServiceCondition.OK


def _checked(
    context: Context,
    definition: Definition | None,
    wanted: Wanted,
    replicas: Sequence[Replica],
    published: Mapping[str, ReplicaStatus],
) -> list[ReplicaRow]:
    """Return a row for each replica, with the published health or that of one check now. Retiring ones are not checked."""
    health = definition.service.health if definition else None
    if definition is None or health is None:
        return [_replica_row(context, one, None) for one in replicas]
    service, checked = definition.service, {one.id for one in wanted.without_retiring(replicas) if one.running}

    def redact(text: str) -> str:  # an app's answer may contain its secrets
        return redaction(service)(text)

    results = _at_once(
        {
            one.id: functools.partial(context.health.check, one, health, redact)
            for one in replicas
            if one.id in checked and one.id not in published
        }
    )
    known: Mapping[str, CheckResult | ReplicaStatus] = {**published, **results}
    return [_replica_row(context, one, known.get(one.id) if one.id in checked else None) for one in replicas]


def _replica_row(context: Context, replica: Replica, result: CheckResult | ReplicaStatus | None) -> ReplicaRow:
    return ReplicaRow(
        id=replica.id,
        name=replica.name,
        node=replica.node,
        revision=replica.revision,
        endpoint=replica.endpoint,
        state=replica.state,
        created=context.clock.at(replica.created),
        health=_health(result),
        answer=result.answer
        if isinstance(result, ReplicaStatus)
        else ""
        if result is None or result.ok
        else str(result),
    )


def _health(result: CheckResult | ReplicaStatus | None) -> CheckOutcome:
    if result is None:
        return CheckOutcome.NOT_CHECKED
    if isinstance(result, ReplicaStatus):
        return CheckOutcome(result.condition)
    if result.unknown:
        return CheckOutcome.UNKNOWN
    return CheckOutcome.HEALTHY if result.ok else CheckOutcome.UNHEALTHY
