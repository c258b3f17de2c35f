"""What every action opens before it acts: definitions, daemon, nginx, state; and the words that locks and history show."""

from pathlib import Path

from conductor.change.doors import Doors
from conductor.clock import Clock
from conductor.definitions.load import Definitions, load
from conductor.definitions.model import Host
from conductor.engine.docker import DockerEngine
from conductor.engine.probes import probe
from conductor.proxy.reload import ReloadProxy
from conductor.report.printers import Reporter
from conductor.state.crontabs import Crontabs
from conductor.state.locks import Locks
from conductor.state.store import Store


def open_doors(config: Path, command: str, report: Reporter) -> tuple[Definitions, Doors]:
    """Everything for the host that `config` describes; nothing outside is touched but the daemon's version asked."""
    definitions = load(config)
    clock = Clock()
    locks = open_locks(definitions.host, command, clock)
    doors = Doors(
        host=definitions.host,
        engine=DockerEngine(definitions.host.docker, definitions.host.instance, clock),
        proxy=ReloadProxy(definitions.host, locks, clock),
        probe=probe,
        store=Store(Path(definitions.host.state_dir)),
        locks=locks,
        crontabs=Crontabs(definitions.host.cron.dir),
        report=report,
        clock=clock,
        config=config,
        command=command,
    )
    return definitions, doors


def open_locks(host: Host, command: str, clock: Clock) -> Locks:
    """The locks of a host."""
    return Locks(Path(host.runtime_dir) / "locks", command, clock)
