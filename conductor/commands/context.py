"""What every action opens before it acts: definitions, daemon, nginx, state; and the words that locks and history show."""

from pathlib import Path

from conductor.change.context import Context
from conductor.clock import Clock
from conductor.definitions.load import Definitions, load
from conductor.definitions.model import Host
from conductor.health.check import HealthChecks
from conductor.output.printers import Reporter
from conductor.runtime.docker.client import DockerRuntime
from conductor.state.crontabs import Crontabs
from conductor.state.locks import Locks
from conductor.state.store import Store
from conductor.traffic.reload.reload import ReloadTraffic


def open_context(config: Path, command: str, report: Reporter) -> tuple[Definitions, Context]:
    """Everything for the host that `config` describes; nothing outside is touched but the daemon's version asked."""
    definitions = load(config)
    clock = Clock()
    locks = open_locks(definitions.host, command, clock)
    runtime = DockerRuntime(definitions.host.docker, definitions.host.instance, clock)
    context = Context(
        host=definitions.host,
        runtime=runtime,
        traffic=ReloadTraffic(definitions.host, locks, clock),
        health=HealthChecks(runtime),
        store=Store(Path(definitions.host.state_dir)),
        locks=locks,
        crontabs=Crontabs(definitions.host.cron.dir),
        report=report,
        clock=clock,
        config=config,
        command=command,
    )
    return definitions, context


def open_locks(host: Host, command: str, clock: Clock) -> Locks:
    """The locks of a host."""
    return Locks(Path(host.runtime_dir) / "locks", command, clock)
