"""What runs: containers as the runtime lists them, one container in detail, one health check (pure)."""

from typing import Literal, NamedTuple

import msgspec

Kind = Literal["service", "task", "cron", "console", "hook"]
LOCAL = "local"  # the node of a runtime on this host
KILLED = 137  # the exit code of a container that SIGKILL ended


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """One container of a service's release. Its identity is `id`, on `node`; `change` is the change that started it.

    `address` is what Conductor gave it: `IP:PORT` where the app listens, or `IP` for a service without a port. In a fleet it
    is `:PORT` until a node runs it. `state` is Docker's word, or `node-down`; `created` is in seconds since 1970. `image_id` is empty in a
    journal of an older version.
    """

    id: str
    name: str
    node: str = LOCAL
    service: str
    revision: str
    release: str
    change: str
    address: str
    state: str
    created: float = 0.0
    image_id: str = ""

    @property
    def running(self) -> bool:
        """True when the runtime lists it as running."""
        return self.state == "running"

    @property
    def may_run(self) -> bool:
        """True when it runs, or `waits`."""
        return self.running or self.waits

    @property
    def waits(self) -> bool:
        """True when the runtime of a fleet will start it again, or it may run on a node that is down."""
        return self.state in {"restarting", "node-down"}

    @property
    def endpoint(self) -> str | None:
        """`IP:PORT` for traffic, or None when the service has no port, or no node runs it yet."""
        return self.address if ":" in self.address[1:] else None


class TaskContainer(msgspec.Struct, frozen=True, kw_only=True):
    """One container of a task, cron job, console or hook. `change` is its own id, or the hook's change; `job` is the key of
    a cron job, or empty. `deadline` is when it must have ended, in seconds since 1970, like `created`."""

    id: str
    name: str
    service: str
    revision: str
    kind: Kind
    change: str
    state: str
    job: str = ""
    created: float = 0.0
    deadline: float | None = None

    @property
    def running(self) -> bool:
        """True when the runtime lists it as running."""
        return self.state == "running"

    def is_overdue(self, wall: float) -> bool:
        """True when it should have ended before `wall`, the time now, but has not."""
        return self.state in {"running", "paused"} and self.deadline is not None and wall > self.deadline

    def has_time_left(self, ran: float | None) -> bool:
        """True when it has run for less than its time limit. `ran` is in seconds by the kernel, None if that is unknown: a clock
        that was set forward makes a deadline pass too early."""
        return self.deadline is not None and ran is not None and ran <= self.deadline - self.created


class Containers(NamedTuple):
    """One list from the runtime, each part sorted by name."""

    replicas: tuple[Replica, ...]
    tasks: tuple[TaskContainer, ...]


class ContainerState(msgspec.Struct, frozen=True, kw_only=True):
    """One container in detail. `exit_code` is None while it runs, `address` is where it is reachable now, `since` is when
    it ended or was created (RFC 3339). `start_delay` is how many seconds after its creation it was last started."""

    running: bool
    exit_code: int | None
    out_of_memory: bool
    address: str
    error: str = ""
    since: str = ""
    start_delay: float = 0.0

    def __str__(self) -> str:
        if self.running:
            return "running"
        if self.out_of_memory:
            return f"was killed: out of memory (exit code {self.exit_code})"
        if self.exit_code is None:
            return self.error
        killed = "SIGKILL, not sent by Conductor; the kernel may have killed it for lack of memory"
        error = self.error or (killed if self.exit_code == KILLED else "")
        return f"exited with code {self.exit_code}" + (f": {error}" if error else "")


class ContainerUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The resource usage of a running container. `memory` is in bytes, without page cache that is not in active use, as
    `docker stats` shows it; `memory_limit` is in bytes, None without a limit. `started` is when its first process started, in
    seconds since 1970; None if that cannot be read."""

    memory: int
    memory_limit: int | None = None
    started: float | None = None


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """One health check: its status and, if it failed, the head of the body or why there was no answer. `unknown` means that
    the check could not be made, so the health of the replica is not known; `refused`, that the connection was refused."""

    ok: bool
    seconds: float
    status: int | None = None
    output: str = ""
    error: str = ""
    unknown: bool = False
    refused: bool = False

    def __str__(self) -> str:
        if self.status is None:
            return self.error + (f": {self.output}" if self.output else "")
        return f"status {self.status}" + (f" {self.output!r}" if self.output else "")
