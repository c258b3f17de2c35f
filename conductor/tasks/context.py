"""What a task needs from outside. It imports neither the Docker SDK nor templates: cron calls `conductor run` every minute."""

import os
import socket
from pathlib import Path

import msgspec

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.definitions.load import Definitions, load
from conductor.definitions.model import Host
from conductor.runtime.docker.attach import TaskRuntime
from conductor.state.history import History, HistoryWriter
from conductor.state.locks import Locks
from conductor.state.store import Store


class TaskContext(msgspec.Struct, frozen=True, kw_only=True):
    """`command` names the task in locks and history."""

    definitions: Definitions
    runtime: TaskRuntime
    store: Store
    history: HistoryWriter
    locks: Locks
    clock: Clock
    cancellation: SignalCancellation
    command: str

    @property
    def host(self) -> Host:
        """The host's part of the definitions."""
        return self.definitions.host


def make_task_context(config: Path, command: str) -> TaskContext:
    """Return the context of a task on this host. Nothing outside is contacted yet."""
    definitions = load(config)
    host, clock, cancellation = definitions.host, Clock(), SignalCancellation()
    return TaskContext(
        definitions=definitions,
        runtime=TaskRuntime(host.docker, host.instance),
        store=_store(host, command),
        history=History(Path(host.state_dir)),
        locks=Locks(Path(host.runtime_dir) / "locks", command, clock, cancellation),
        clock=clock,
        cancellation=cancellation,
        command=command,
    )


def _store(host: Host, command: str) -> Store:
    """In a fleet, a task has the state of all managers, but the locks of this one: its network and its jobs are local."""
    if host.fleet is None:
        return Store(Path(host.state_dir))
    from conductor.runtime.swarm.fleet import fleet
    from conductor.state.fleet.store import FleetStore

    shared = fleet(host.docker, host.instance, command)
    return FleetStore(Path(host.state_dir), shared.objects, shared.leases)


def host_name() -> str:
    """Return the name of this host, for people."""
    return socket.gethostname() or os.uname().nodename
