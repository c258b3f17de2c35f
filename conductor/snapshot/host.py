"""The snapshot of this host: what `service status` shows, as one value for people, scripts, a web page and metrics.

It is made from the state files, one list of containers, and what `supervise` published. Memory and start times are read from
the kernel. Only an image that no running replica has requires another call to the daemon.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from conductor.change.context import Context
from conductor.cron.installed import installed_jobs
from conductor.definitions.load import Definitions
from conductor.errors import ConductorError
from conductor.plan.release import Wanted
from conductor.plan.route import TrafficState
from conductor.plan.transition import was_routed
from conductor.snapshot import notes
from conductor.snapshot.model import CronSnapshot, HostSnapshot, ReplicaSnapshot, RouteSnapshot, ServiceSnapshot
from conductor.snapshot.notes import AnyNote
from conductor.snapshot.past import Past, read_past
from conductor.snapshot.rows import ReplicaRow, ServiceRow
from conductor.snapshot.services import HostFacts, rows_of, service_rows
from conductor.state.supervisor_status import SUPERVISE_LOCK

HOUR_SECONDS = 3600.0


def take_snapshot(
    definitions: Definitions, context: Context, only: str | None = None, *, probe: bool = False
) -> HostSnapshot:
    """Return the snapshot of all services, or of `only`. With `probe`, every replica is checked now."""
    traffic = context.traffic.state()
    rows = service_rows(definitions, context, only, probe=probe, traffic=traffic)
    return HostSnapshot(
        time=context.clock.now(),
        supervise_running=context.locks.is_held(SUPERVISE_LOCK),
        nginx=traffic,
        services=tuple(
            msgspec.structs.replace(one, edges=context.traffic.edges(one.service)) if context.host.fleet else one
            for one in _services(context, rows, traffic, lambda live: recent_past(context, live))
        ),
    )


def service_snapshots(
    definitions: Definitions,
    context: Context,
    services: Sequence[str],
    facts: HostFacts,
    past: Callable[[Mapping[str, str]], Mapping[str, Past]],
) -> tuple[ServiceSnapshot, ...]:
    """Return the snapshot of each of these services. `past` returns the past of services by the ids of their live releases."""
    return _services(context, rows_of(definitions, context, services, facts), facts.traffic, past)


def recent_past(context: Context, live: Mapping[str, str]) -> Mapping[str, Past]:
    """Return the past of services, given the ids of their live releases, with the restarts of the last hour."""
    return read_past(context.store.directory, live, context.clock.later(-HOUR_SECONDS))


def _services(
    context: Context,
    rows: Sequence[ServiceRow],
    traffic: TrafficState,
    read: Callable[[Mapping[str, str]], Mapping[str, Past]],
) -> tuple[ServiceSnapshot, ...]:
    states = {row.service: wanted for row in rows if (wanted := _wanted(context, row.service)) is not None}
    past = read({service: wanted.release.id for service, wanted in states.items() if wanted.release})
    return tuple(
        _service(context, row, states.get(row.service), past.get(row.service) or Past(), traffic) for row in rows
    )


def _wanted(context: Context, service: str) -> Wanted | None:
    """Return None for a damaged state, which a note reports."""
    try:
        return context.store.wanted(service)
    except ConductorError:
        return None


def _service(
    context: Context, row: ServiceRow, wanted: Wanted | None, past: Past, traffic: TrafficState
) -> ServiceSnapshot:
    serving: Collection[str] | None = None
    damaged: tuple[AnyNote, ...] = ()
    routed = wanted is not None and was_routed(wanted)
    try:
        serving = context.traffic.serving(row.service) if routed else None
        if serving is not None and row.maintenance is not None:
            serving = ()
        cron = _cron(context, row.service)
    except ConductorError as error:
        cron, damaged = None, (notes.DamagedState.of(error),)
    return ServiceSnapshot(
        **{field: getattr(row, field) for field in ServiceRow.__struct_fields__ if field not in {"notes", "replicas"}},
        notes=(*row.notes, *(one for one in damaged if one not in row.notes)),
        replicas=tuple(_replica(context, one, serving) for one in row.replicas),
        running_revisions=tuple(dict.fromkeys(one.revision for one in row.replicas if one.is_running)),
        deployed=past.deployed,
        restarts=past.restarts,
        last_change=past.last,
        nginx=_route(context, traffic, row, serving) if routed else None,
        cron=cron,
    )


def _route(context: Context, traffic: TrafficState, row: ServiceRow, serving: Collection[str] | None) -> RouteSnapshot:
    if serving is None:
        return RouteSnapshot(state=traffic, endpoints=None, running=None)
    running, way = {one.endpoint for one in row.replicas if one.is_running}, context.traffic.way(row.service)
    return RouteSnapshot(
        state=traffic,
        endpoints=len(serving),
        running=len(running.intersection(serving)),
        cutover=way,
        pending=row.maintenance is None and way != context.host.nginx.cutover,
    )


def _replica(context: Context, row: ReplicaRow, serving: Collection[str] | None) -> ReplicaSnapshot:
    usage = context.runtime.usage(row.id) if row.is_running else None
    return ReplicaSnapshot(
        **msgspec.structs.asdict(row),
        started=None if usage is None or usage.started is None else context.clock.at(usage.started),
        memory=usage.memory if usage else None,
        memory_limit=usage.memory_limit if usage else None,
        routed=None if serving is None else row.endpoint in serving,
    )


def _cron(context: Context, service: str) -> CronSnapshot | None:
    text = context.crontabs.read(service)
    if text is None:
        return None
    jobs = installed_jobs(text)
    once = {one.key: one for one in jobs}.values()  # lines with the same command are one job
    failing = [one.command for one in once if (result := context.store.job(service, one.key)) and result.failures]
    return CronSnapshot(jobs=len(jobs), failing=tuple(failing))
