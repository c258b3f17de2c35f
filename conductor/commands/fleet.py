"""Builds the parts of a context that the managers of a fleet share, and those of the edge of this manager."""

from collections.abc import Collection
from pathlib import Path

import msgspec

from conductor.cancellation import Cancellation
from conductor.change.context import Context
from conductor.clock import Clock
from conductor.definitions.host import Host
from conductor.plan.edges import EdgeView
from conductor.runtime.swarm.client import SwarmRuntime
from conductor.runtime.swarm.fleet import Fleet, fleet
from conductor.state.fleet.edges import Edges
from conductor.state.fleet.history import FleetHistory, HistoryFollower
from conductor.state.fleet.locks import FleetLocks
from conductor.state.fleet.store import FleetStore
from conductor.supervise.edge_loop import EdgeParts
from conductor.traffic.fleet.traffic import FleetTraffic


def make_runtime(
    host: Host,
    command: str,
    clock: Clock,
    cancellation: Cancellation,
    *,
    yields: bool,
    gone: Collection[str] = (),
) -> SwarmRuntime:
    """Return the runtime of a process, which starts and stops nothing once another process has taken over. Nothing runs any more
    on the nodes that are `gone`."""
    leases = fleet(host.docker, host.instance, command, yields=yields).leases
    return SwarmRuntime(host.docker, host.instance, clock, cancellation, leases.verify, gone=gone)


def on_fleet(
    context: Context, *, yields: bool, without_edges: Collection[str] = (), gone: Collection[str] = ()
) -> Context:
    """Return the context of a manager, from that of a single host, whose traffic layer is the one of its edge. The edges
    `without_edges` and those on nodes that are `gone` carry no traffic, and are not asked."""
    host, shared = context.host, _shared(context, yields=yields)
    edges = Edges(shared.objects, shared.leases, context.clock, context.cancellation)

    def used() -> tuple[str, ...]:
        return tuple(one for one in shared.edges(without_edges) if one not in gone)

    return msgspec.structs.replace(
        context,
        traffic=FleetTraffic(context.traffic, edges, used, context.clock),
        store=FleetStore(Path(host.state_dir), shared.objects, shared.leases),
        locks=FleetLocks(
            Path(host.runtime_dir) / "locks", context.command, context.clock, context.cancellation, shared.leases, yields=yields
        ),
    )  # fmt: skip


def make_edge(context: Context) -> EdgeParts:
    """Return what `supervise` needs to be the edge of this manager."""
    from conductor.commands.context import make_traffic

    shared = _shared(context, yields=True)
    edges = Edges(shared.recent, shared.leases, context.clock, context.cancellation)

    def views() -> tuple[dict[str, EdgeView], frozenset[str]]:
        present = shared.present()
        return {name: view for name, view in edges.views().items() if name in present.edges}, present.not_ready

    return EdgeParts(
        name=shared.own_name,
        edges=edges,
        traffic=make_traffic(context.host, context.locks, context.clock, context.cancellation),
        leases=shared.leases,
        store=FleetStore(Path(context.host.state_dir), shared.recent, shared.leases),
        expire=shared.recent.expire,
        views=views,
        follow_history=HistoryFollower(Path(context.host.state_dir), shared.recent).follow,
        writes=make_runtime(context.host, context.command, context.clock, context.cancellation, yields=True).writes,
    )


def fleet_history(host: Host, command: str, *, yields: bool) -> FleetHistory:
    """Return the history of a manager."""
    shared = fleet(host.docker, host.instance, command, yields=yields)
    return FleetHistory(Path(host.state_dir), shared.leases)


def _shared(context: Context, *, yields: bool) -> Fleet:
    return fleet(context.host.docker, context.host.instance, context.command, yields=yields)
