"""What a task needs from outside. It imports neither the Docker SDK nor templates: cron calls `conductor run` every minute."""

import functools
import os
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.definitions.host import Host
from conductor.definitions.load import Definitions, load
from conductor.runtime.docker.attach import TaskRuntime
from conductor.state.history import History, HistoryWriter
from conductor.state.locks import Locks
from conductor.state.store import Store


class TaskContext(msgspec.Struct, frozen=True, kw_only=True):
    """`command` names the task in locks and history. `claim` returns whether this host runs a job, by service and key, in a minute
    since 1970: in a fleet, each manager has the crontab."""

    definitions: Definitions
    runtime: TaskRuntime
    store: Store
    history: HistoryWriter
    locks: Locks
    clock: Clock
    cancellation: SignalCancellation
    command: str
    claim: Callable[[str, str, int], bool] = lambda _service, _job, _minute: True

    @property
    def host(self) -> Host:
        """The host's part of the definitions."""
        return self.definitions.host


def make_task_context(config: Path, command: str) -> TaskContext:
    """Return the context of a task on this host. Nothing outside is contacted yet."""
    definitions = load(config)
    host, clock, cancellation = definitions.host, Clock(), SignalCancellation()
    directory = Path(host.runtime_dir) / "locks"
    context = TaskContext(
        definitions=definitions,
        runtime=TaskRuntime(host.docker, host.instance),
        store=Store(Path(host.state_dir)),
        history=History(Path(host.state_dir)),
        locks=Locks(directory, command, clock, cancellation),
        clock=clock,
        cancellation=cancellation,
        command=command,
    )
    return context if host.fleet is None else _on_fleet(context, directory)


def _on_fleet(context: TaskContext, directory: Path) -> TaskContext:
    """The state and the runs of jobs are those of all managers; the network and its addresses are those of this host."""
    from conductor.runtime.swarm.fleet import fleet
    from conductor.state.fleet.claims import claim
    from conductor.state.fleet.locks import FleetLocks, is_of_job
    from conductor.state.fleet.store import FleetStore

    host, command = context.host, context.command
    shared = fleet(host.docker, host.instance, command)
    return msgspec.structs.replace(
        context,
        store=FleetStore(Path(host.state_dir), shared.objects, shared.leases),
        locks=FleetLocks(directory, command, context.clock, context.cancellation, shared.leases, shared=is_of_job),
        claim=functools.partial(claim, shared.objects),
    )


def host_name() -> str:
    """Return the name of this host, for people."""
    return socket.gethostname() or os.uname().nodename
