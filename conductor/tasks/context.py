"""What a task goes through; light, as cron opens it every minute: no SDK, no templates."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from conductor.clock import Clock
from conductor.definitions.load import Definitions, load
from conductor.definitions.model import Host
from conductor.runtime.docker.attach import TaskRuntime
from conductor.state.locks import Locks
from conductor.state.store import Store


@dataclass(frozen=True)
class TaskContext:
    """`command` is what the user asked for, for locks and history."""

    definitions: Definitions
    daemon: TaskRuntime
    store: Store
    locks: Locks
    clock: Clock
    command: str

    @property
    def host(self) -> Host:
        """The host's part of the definitions."""
        return self.definitions.host


def open_task_context(config: Path, command: str) -> TaskContext:
    """Nothing outside is touched yet."""
    definitions = load(config)
    host, clock = definitions.host, Clock()
    return TaskContext(
        definitions=definitions,
        daemon=TaskRuntime(host.docker, host.instance),
        store=Store(Path(host.state_dir)),
        locks=Locks(Path(host.runtime_dir) / "locks", command, clock),
        clock=clock,
        command=command,
    )


def host_name() -> str:
    """What people call this machine."""
    return socket.gethostname() or os.uname().nodename
