"""Builds the context of an action: the only place that names the implementations of the ports."""

from pathlib import Path

from conductor.cancellation import Cancellation
from conductor.change.context import Context
from conductor.clock import Clock
from conductor.definitions.model import Host
from conductor.health.check import HealthChecks
from conductor.output.printers import Output
from conductor.runtime.docker.client import DockerRuntime
from conductor.runtime.port import Runtime
from conductor.state.crontabs import Crontabs
from conductor.state.history import History, HistoryWriter
from conductor.state.locks import Locks
from conductor.state.store import Store
from conductor.traffic.reload.reload import ReloadTraffic


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
) -> Context:
    """Return the context of an action on this host. Nothing outside is contacted yet.

    `supervise` passes its own `runtime` (to reuse its connections) and `history`, and `yields` its locks.
    """
    clock = clock or Clock()
    runtime = runtime or DockerRuntime(host.docker, host.instance, clock, cancellation)
    locks = Locks(Path(host.runtime_dir) / "locks", command, clock, cancellation, yields=yields)
    return Context(
        host=host,
        runtime=runtime,
        traffic=ReloadTraffic(host, locks, clock, cancellation),
        health=HealthChecks(runtime),
        store=Store(Path(host.state_dir)),
        history=history or History(Path(host.state_dir)),
        locks=locks,
        crontabs=Crontabs(host.cron.dir),
        output=output,
        clock=clock,
        cancellation=cancellation,
        config=config,
        command=command,
    )
