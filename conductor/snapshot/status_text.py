"""The snapshot of a host as human-readable text: a paragraph for each service, with a table of its replicas (pure)."""

from collections.abc import Iterator, Sequence

from conductor.clock import seconds_between
from conductor.output.printable import memory_text
from conductor.output.tables import as_table
from conductor.plan.edges import EdgeState
from conductor.plan.history import Outcome
from conductor.plan.replica import LOCAL
from conductor.plan.route import TrafficState, Way
from conductor.snapshot.actions import who_text
from conductor.snapshot.model import HostSnapshot, ReplicaSnapshot, RouteSnapshot, ServiceSnapshot
from conductor.snapshot.past import LastChange
from conductor.snapshot.rows import CheckOutcome
from conductor.state.supervisor_status import NOT_RUNNING, START_SUPERVISE
from conductor.times import duration_text

SHORT = 12  # characters of a revision and of a container's id
UNKNOWN = "?"
_OUTCOMES = {
    Outcome.RECOVERED: "interrupted, then completed",
    Outcome.RECOVERED_ROLLED_BACK: "interrupted, then rolled back",
}
NOT_FOUND = "unknown (not in the latest part of the history)"
SUPERVISE_DOWN = f"{NOT_RUNNING}, so failed containers are not replaced; run {START_SUPERVISE}"
# Columns of the table of replicas, widest first. The last one has no names, for services with long ids.
LAYOUTS = (
    ("REPLICA", "REVISION", "ADDRESS", "UP", "MEMORY", "NGINX", "STATE"),
    ("REPLICA", "ADDRESS", "UP", "MEMORY", "NGINX", "STATE"),
    ("REPLICA", "UP", "MEMORY", "NGINX", "STATE"),
    ("CONTAINER", "UP", "MEMORY", "NGINX", "STATE"),
)


def status_lines(snapshot: HostSnapshot, width: int) -> list[str]:
    """Return the lines. Tables fit `width` characters; sentences may be longer."""
    lines = [line for service in snapshot.services for line in _service(service, snapshot.time, width)]
    return lines if snapshot.supervise_running or not lines else [SUPERVISE_DOWN, *lines]


def _service(service: ServiceSnapshot, now: str, width: int) -> Iterator[str]:
    yield f"{service.service}  {(service.revision or '-')[:SHORT]}  {service.count}  {service.describe()}"
    yield from (f"  {note.text}" for note in service.notes)
    yield from (f"  {name:<9} {text}" for name, text in _facts(service, now))
    if service.replicas:
        yield from _table(service.replicas, now, width)


def _facts(service: ServiceSnapshot, now: str) -> Iterator[tuple[str, str]]:
    if service.running_revisions not in {(), (service.revision,)}:
        yield "running", ", ".join(service.running_revisions)
    if service.revision is not None:
        yield "deployed", _ago(service.deployed, now) if service.deployed else NOT_FOUND
        yield "changed", _change(service.last_change, now) if service.last_change else NOT_FOUND
    if service.nginx is not None:
        yield "nginx", nginx_text(service.nginx)
    if service.edges:
        yield "edges", edges_text(service.edges)
    if service.restarts:
        yield "restarts", f"{service.restarts} in the last hour, by supervise"
    if service.cron is not None:
        failing = service.cron.failing
        jobs = f"{service.cron.jobs} job{'s' * (service.cron.jobs != 1)}"
        listed = f"{len(failing)} failing ({'; '.join(failing)}): conductor cron list --id {service.service}"
        yield "cron", f"{jobs}, {listed if failing else 'none failing'}"


def _change(change: LastChange, now: str) -> str:
    what = f"{change.action} to {change.to[:SHORT]}" if change.to and change.from_ != change.to else change.action
    who = f" by {who_text(change.who, change.command)}" if change.who else ""
    taken = f" (took {duration_text(change.seconds)})" if change.seconds is not None else ""
    reason = f": {change.reason}" if change.reason else ""
    return f"{_ago(change.at, now)}: {what}{who}, {_OUTCOMES.get(change.outcome, change.outcome.value.replace('-', ' '))}{taken}{reason}"


def edges_text(edges: Sequence[EdgeState]) -> str:
    """Return what the edges have confirmed."""
    confirmed = ", ".join(one.name for one in edges if one.confirmed)
    waiting = [
        f"{one.name} {f'failed: {one.error}' if one.error else f'has not confirmed the {one.step}'}"
        for one in edges
        if not one.confirmed
    ]
    what = "" if not waiting else f" the {edges[0].step}"
    return "; ".join(filter(None, (f"{confirmed} confirmed{what}" if confirmed else "", *waiting)))


def nginx_text(nginx: RouteSnapshot) -> str:
    """Return what nginx does for a service."""
    if nginx.state.is_down:
        return "not running"
    if nginx.state is TrafficState.NOT_LOADED:
        return "running without Conductor's files"
    if nginx.state is TrafficState.NOT_ANSWERING:
        return "running, but not responding"
    if nginx.endpoints is None:
        return UNKNOWN
    if not nginx.endpoints:
        return "returns 503"
    if nginx.running == nginx.endpoints:
        way = f", cutover {nginx.cutover}" if nginx.pending or nginx.cutover is Way.LIVE else ""
        until = " until the next conductor nginx install" if nginx.pending else ""
        return f"requests go to {nginx.endpoints} replica{'s' * (nginx.endpoints != 1)}{way}{until}"
    addresses = f"{nginx.endpoints} address{'es' * (nginx.endpoints != 1)}"
    running = {0: "no replica is", 1: "only 1 replica is"}.get(nginx.running or 0, f"only {nginx.running} replicas are")
    return f"requests go to {addresses}, but {running} running there"


def _table(replicas: Sequence[ReplicaSnapshot], now: str, width: int) -> Iterator[str]:
    cells = [_cells(one, now) for one in replicas]
    lines: list[str] = []
    node = () if all(one.node == LOCAL for one in replicas) else ("NODE",)
    for columns in LAYOUTS:
        layout = (columns[0], *node, *columns[1:])
        rows = [layout, *(tuple(one[name] for name in layout) for one in cells)]
        lines = [f"  {line}" for line in as_table(rows).split("\n")]
        if max(map(len, lines)) <= width:
            break
    yield lines[0]
    for line, replica in zip(lines[1:], replicas, strict=True):
        yield line
        if replica.answer:
            yield f"    {replica.answer}"


def _cells(replica: ReplicaSnapshot, now: str) -> dict[str, str]:
    """Return the text of each column."""
    missing = UNKNOWN if replica.is_running else "-"
    checked = replica.is_running and replica.health is not CheckOutcome.NOT_CHECKED
    return {
        "REPLICA": replica.name,
        "CONTAINER": replica.id[:SHORT],
        "NODE": replica.node or "-",
        "REVISION": replica.revision[:SHORT],
        "ADDRESS": replica.endpoint or "-",
        "UP": missing if replica.started is None else _age(replica.started, now),
        "MEMORY": missing if replica.memory is None else memory_text(replica.memory, replica.memory_limit),
        "NGINX": "-" if replica.routed is None else "yes" if replica.routed else "no",
        "STATE": replica.health.value if checked else replica.state,
    }


def _ago(stamp: str, now: str) -> str:
    return f"{_age(stamp, now)} ago"


def _age(stamp: str, now: str) -> str:
    return duration_text(max(0, int(seconds_between(stamp, now))))
