"""Builds the context of an action: the only place that names the implementations of the ports."""

from collections.abc import Collection
from pathlib import Path
from typing import cast

from conductor.cancellation import Cancellation, SignalCancellation
from conductor.change.context import Context
from conductor.clock import Clock
from conductor.definitions.host import Host
from conductor.health.check import HealthChecks
from conductor.output.printers import NoOutput, Output
from conductor.runtime.docker.queries import QueryRuntime
from conductor.runtime.port import Runtime
from conductor.state.crontabs import Crontabs
from conductor.state.history import History, HistoryWriter
from conductor.state.locks import Locks
from conductor.state.store import Store
from conductor.traffic.live.live import LiveTraffic
from conductor.traffic.peers import LUA_FILE
from conductor.traffic.port import Traffic
from conductor.traffic.reload.reload import ReloadTraffic


def make_query_context(host: Host, config: Path, command: str) -> Context:
    """Return the context of a query, which prints no events."""
    if host.fleet is not None:
        return make_context(host, config, command, NoOutput(), SignalCancellation())
    clock, cancellation = Clock(), SignalCancellation()
    runtime = cast("Runtime", QueryRuntime(host.docker, host.instance, clock, cancellation))
    return make_context(host, config, command, NoOutput(), cancellation, clock=clock, runtime=runtime)


def make_context(
    host: Host,
    config: Path,
    command: str,
    output: Output,
    cancellation: Cancellation,
    *,
    clock: Clock | None = None,
    runtime: Runtime | None = None,
    history: HistoryWriter | None = None,
    yields: bool = False,
    without_edges: Collection[str] = (),
    nodes_gone: Collection[str] = (),
) -> Context:
    """Return the context of an action on this host. Nothing outside is contacted yet.

    `supervise` passes its own `runtime` (to reuse its connections) and `history`, and `yields` its locks. `without_edges` are edges of a
    fleet that carry no traffic. `nodes_gone` are nodes that are down, and where nothing runs any more.
    """
    clock = clock or Clock()
    if host.fleet is not None:
        from conductor.commands.fleet import make_runtime

        runtime = runtime or make_runtime(host, command, clock, cancellation, yields=yields, gone=nodes_gone)
    if runtime is None:
        from conductor.runtime.docker.client import DockerRuntime

        runtime = DockerRuntime(host.docker, host.instance, clock, cancellation)
    locks = Locks(Path(host.runtime_dir) / "locks", command, clock, cancellation, yields=yields)
    context = Context(
        host=host,
        runtime=runtime,
        traffic=make_traffic(host, locks, clock, cancellation),
        health=HealthChecks(runtime),
        store=Store(Path(host.state_dir)),
        history=history or make_history(host, command, yields=yields),
        locks=locks,
        crontabs=Crontabs(host.cron.dir),
        output=output,
        clock=clock,
        cancellation=cancellation,
        config=config,
        command=command,
    )
    if host.fleet is not None:
        from conductor.commands.fleet import on_fleet

        return on_fleet(context, yields=yields, without_edges=without_edges, gone=nodes_gone)
    return context


def make_history(host: Host, command: str, *, yields: bool = False) -> HistoryWriter:
    """Return the history of this host, which in a fleet is that of all managers."""
    if host.fleet is not None:
        from conductor.commands.fleet import fleet_history

        return fleet_history(host, command, yields=yields)
    return History(Path(host.state_dir))


def make_traffic(host: Host, locks: Locks, clock: Clock, cancellation: Cancellation) -> Traffic:
    """Return the implementation for this host. One that moved back from `live` may still have workers that serve live peers."""
    was_live = Path(host.nginx.include_dir, LUA_FILE).exists()
    made = LiveTraffic if host.nginx.cutover == "live" or was_live else ReloadTraffic
    return made(host, locks, clock, cancellation)
