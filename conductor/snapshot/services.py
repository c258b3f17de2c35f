"""The services of this host: wanted and running side by side, with a note for every difference.

A problem of one service never hides the others: a damaged state file, an invalid definition or a service that is no longer
defined is a condition of that service's row.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from enum import StrEnum
from typing import Any

import msgspec

from conductor.change.context import Context
from conductor.definitions.environment import redaction
from conductor.definitions.load import Definitions, restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.plan.release import Hold, Wanted
from conductor.plan.replica import CheckResult, Replica
from conductor.plan.transition import drifted, wanted_count, was_routed
from conductor.snapshot import notes
from conductor.snapshot.notes import Note
from conductor.state.supervisor_status import ServiceStatus, read_status

CALLS_AT_ONCE = 16  # services at once, and replicas of each
VERSION = 1  # of the JSON document


class ServiceCondition(StrEnum):
    """The condition of a service. If several apply, it is the first one."""

    DAMAGED_STATE = "damaged-state"
    UNDEFINED = "undefined"
    INVALID_DEFINITION = "invalid-definition"
    NEVER_DEPLOYED = "never-deployed"
    MISSING = "missing"
    SURPLUS = "surplus"
    UNHEALTHY = "unhealthy"
    TRAFFIC_DOWN = "traffic-down"
    STOPPED = "stopped"
    OK = "ok"


class CheckOutcome(StrEnum):
    """The result of one health check made now. `NOT_CHECKED`: the replica is not running or has no health check."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"  # the check could not be made
    NOT_CHECKED = "not-checked"


class ReplicaRow(msgspec.Struct, frozen=True, kw_only=True):
    """One replica, checked by the definition of the live release. `answer` is that of a failed check, without secrets."""

    id: str
    name: str
    node: str
    revision: str
    endpoint: str | None
    state: str
    health: CheckOutcome
    answer: str = ""

    @property
    def passes(self) -> bool:
        """True unless a check failed."""
        return self.health in {CheckOutcome.HEALTHY, CheckOutcome.NOT_CHECKED}

    def describe(self) -> str:
        """Return the health for people."""
        if self.health is CheckOutcome.NOT_CHECKED:
            return "-"
        return self.answer or self.health.value


class ServiceRow(msgspec.Struct, frozen=True, kw_only=True):
    """One service. `wanted` is the wanted number of replicas, `running` counts running ones of the live release, `healthy`
    those of them that pass a check now. `scale` is the count set by an operator, `paused` a pause that is not over."""

    service: str
    revision: str | None = None
    wanted: int = 0
    running: int
    healthy: int = 0
    condition: ServiceCondition
    scale: int | None = None
    stopped: Hold | None = None
    paused: Hold | None = None
    notes: tuple[Note, ...] = ()
    replicas: tuple[ReplicaRow, ...] = ()

    def describe(self) -> str:
        """Return the condition for people, in a few words."""
        match self.condition:
            case ServiceCondition.DAMAGED_STATE:
                return "damaged state"
            case ServiceCondition.UNDEFINED:
                return "not defined"
            case ServiceCondition.INVALID_DEFINITION:
                return "invalid definition"
            case ServiceCondition.NEVER_DEPLOYED:
                return "never deployed"
            case ServiceCondition.MISSING:
                return f"{self.wanted - self.running} missing"
            case ServiceCondition.SURPLUS:
                return f"{self.running - self.wanted} too many"
            case ServiceCondition.UNHEALTHY:
                return f"{self.healthy} of {self.running} healthy"
            case ServiceCondition.TRAFFIC_DOWN:
                return "nginx is not running"
            case ServiceCondition.STOPPED | ServiceCondition.OK:
                return self.condition.value


def document(rows: Sequence[ServiceRow]) -> dict[str, Any]:
    """Return the rows as the JSON document of `service list` and `service status`."""
    return {"version": VERSION, "services": [_row_document(row) for row in rows]}


def _row_document(row: ServiceRow) -> dict[str, Any]:
    texts = [{**msgspec.to_builtins(note), "text": note.describe()} for note in row.notes]
    return {**msgspec.to_builtins(row), "notes": texts}


def service_rows(definitions: Definitions, context: Context, only: str | None = None) -> list[ServiceRow]:
    """Return a row for each defined service and each other one that has a state or replicas; or only for `only`."""
    found = context.runtime.containers(only).replicas
    others = {*context.store.services(), *(one.service for one in found)}.difference(definitions.ids)
    ids = (*definitions.ids, *sorted(others))
    if only is not None:
        definitions.require_known(only, ids)
    statuses, traffic_runs = _supervisor_statuses(context), context.traffic.is_running()

    def row(service: str) -> ServiceRow:
        replicas = [one for one in found if one.service == service]
        return _row(
            definitions, context, service, replicas, status=statuses.get(service), traffic_runs=traffic_runs
        )  # fmt: skip

    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        return list(pool.map(row, (service for service in ids if only in {None, service})))


def _supervisor_statuses(context: Context) -> Mapping[str, ServiceStatus]:
    """Return what a running `supervise` published, by service."""
    with contextlib.suppress(ConductorError):
        status = read_status(context.host.runtime_dir, context.locks)
        return status.services if status is not None else {}
    return {}


def _row(
    definitions: Definitions,
    context: Context,
    service: str,
    replicas: Sequence[Replica],
    *,
    status: ServiceStatus | None,
    traffic_runs: bool,
) -> ServiceRow:
    try:
        wanted = context.store.wanted(service)
        released = restore(service, wanted.release.definition) if wanted.release else None
    except ConductorError as error:
        return _damaged(service, replicas, error)
    defined = definitions.services.get(service)
    rows = _checked(context, released or defined, replicas)
    live = [row for row, one in zip(rows, replicas, strict=True) if one.running and _is_live(one, wanted)]
    healthy = sum(row.passes for row in live)
    count_from = defined or released
    count = wanted_count(wanted, count_from) if count_from else len(live)
    down = was_routed(wanted) and count > 0 and not traffic_runs
    paused = wanted.paused if wanted.paused and not wanted.paused.is_over(context.clock.now()) else None
    return ServiceRow(
        service=service,
        revision=wanted.release.revision if wanted.release else None,
        wanted=count,
        running=len(live),
        healthy=healthy,
        condition=_condition(definitions, wanted, count, len(live), healthy, traffic_down=down),
        scale=wanted.scale,
        stopped=wanted.stopped,
        paused=paused,
        notes=(
            *_definition_notes(definitions, service, released),
            *_operator_notes(wanted, paused, defined),
            *_change_notes(context, service),
            *_supervise_notes(wanted, status),
            *_difference_notes(wanted, defined, replicas),
            *((notes.TrafficDown(),) if down else ()),
            *_image_notes(context, wanted),
        ),
        replicas=tuple(rows),
    )


def _damaged(service: str, replicas: Sequence[Replica], error: ConductorError) -> ServiceRow:
    return ServiceRow(
        service=service,
        running=sum(one.running for one in replicas),
        condition=ServiceCondition.DAMAGED_STATE,
        notes=(notes.DamagedState.of(error),),
        replicas=tuple(_replica_row(one, None) for one in replicas),
    )


def _is_live(replica: Replica, wanted: Wanted) -> bool:
    return wanted.release is not None and replica.release == wanted.release.id


def _condition(
    definitions: Definitions, wanted: Wanted, count: int, running: int, healthy: int, *, traffic_down: bool
) -> ServiceCondition:
    if wanted.service not in definitions.ids:
        return ServiceCondition.UNDEFINED
    if wanted.service not in definitions.services:
        return ServiceCondition.INVALID_DEFINITION
    if wanted.release is None:
        return ServiceCondition.NEVER_DEPLOYED
    if running != count:
        return ServiceCondition.MISSING if running < count else ServiceCondition.SURPLUS
    if healthy < running:
        return ServiceCondition.UNHEALTHY
    if traffic_down:
        return ServiceCondition.TRAFFIC_DOWN
    return ServiceCondition.STOPPED if wanted.stopped else ServiceCondition.OK


def _definition_notes(definitions: Definitions, service: str, released: Definition | None) -> Iterator[Note]:
    for problem in definitions.broken.get(service, ())[:1]:
        yield notes.InvalidDefinition(problem=str(problem))
    if released and released.unknown:
        yield notes.UnknownKeys(keys=released.unknown)


def _operator_notes(wanted: Wanted, paused: Hold | None, defined: Definition | None) -> Iterator[Note]:
    if wanted.stopped:
        yield notes.Stopped(hold=wanted.stopped)
    if paused:
        yield notes.Paused(hold=paused)
    if wanted.scale is not None:
        yield notes.Scaled(
            service=wanted.service, count=wanted.scale, defined=defined.service.count if defined else None
        )


def _change_notes(context: Context, service: str) -> Iterator[Note]:
    if (holder := context.locks.holder(service)) is not None:
        yield notes.Busy.of(holder)
        return
    try:
        journal = context.store.journal(service)
    except ConductorError as error:
        yield notes.DamagedState.of(error)
        return
    if journal is not None:
        yield notes.Interrupted.of(journal)


def _supervise_notes(wanted: Wanted, status: ServiceStatus | None) -> Iterator[Note]:
    if status is not None and status.needs_attention and wanted.paused is None:
        yield notes.Supervise(status=status)


def _difference_notes(wanted: Wanted, defined: Definition | None, replicas: Sequence[Replica]) -> Iterator[Note]:
    if defined and drifted(wanted, defined):
        yield notes.Drifted()
    if others := tuple(one.name for one in replicas if not _is_live(one, wanted)):
        yield notes.Stray(names=others)


def _image_notes(context: Context, wanted: Wanted) -> Iterator[Note]:
    if wanted.release and context.runtime.image(wanted.release.image_id) is None:
        yield notes.MissingImage(image=wanted.release.image)


def _checked(context: Context, definition: Definition | None, replicas: Sequence[Replica]) -> list[ReplicaRow]:
    """Return a row for each replica, after one check of each running one."""
    health = definition.service.health if definition else None
    if definition is None or health is None:
        return [_replica_row(one, None) for one in replicas]
    redact = redaction(definition.service)  # an app's answer may contain its secrets

    def row(replica: Replica) -> ReplicaRow:
        return _replica_row(replica, context.health.check(replica, health, redact) if replica.running else None)

    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        return list(pool.map(row, replicas))


def _replica_row(replica: Replica, result: CheckResult | None) -> ReplicaRow:
    return ReplicaRow(
        id=replica.id,
        name=replica.name,
        node=replica.node,
        revision=replica.revision,
        endpoint=replica.endpoint,
        state=replica.state,
        health=_health(result),
        answer="" if result is None or result.ok else str(result),
    )


def _health(result: CheckResult | None) -> CheckOutcome:
    if result is None:
        return CheckOutcome.NOT_CHECKED
    if result.unknown:
        return CheckOutcome.UNKNOWN
    return CheckOutcome.HEALTHY if result.ok else CheckOutcome.UNHEALTHY
