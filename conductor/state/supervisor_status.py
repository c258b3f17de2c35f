"""The supervisor status: what `supervise` publishes about each service, for `status` and for its own next start."""

import contextlib
from pathlib import Path

import msgspec

from conductor.errors import ConductorError
from conductor.plan.reason import AnyReason, AsWanted, NeverDeployed, Paused
from conductor.state import files
from conductor.state.locks import Locks

TRAFFIC_DOWN = "nginx is not running, so no request reaches the services behind it: systemctl start nginx"
SUPERVISE_LOCK = "supervise.loop"  # held while `supervise` runs; no service id contains a dot


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One service. Decide from `reason`; `text` is the same for people.

    `until` is when the next action is due (RFC 3339, UTC), if any. `attempts` counts repairs since the service was last
    healthy. `last` is when the latest repair ended (seconds since 1970) and `change` the latest committed change.
    """

    reason: AnyReason
    text: str
    until: str = ""
    attempts: int = 0
    last: float | None = None
    change: str = ""

    @property
    def needs_attention(self) -> bool:
        """True unless no action is due and the service is as wanted, never deployed or paused."""
        return bool(self.until) or not isinstance(self.reason, AsWanted | NeverDeployed | Paused)

    def __str__(self) -> str:
        attempts = f", {self.attempts} attempt{'s' * (self.attempts != 1)}" if self.attempts else ""
        return self.text + (f"; next action at {self.until}" if self.until else "") + attempts


class SupervisorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`supervise.json` in the runtime directory. `problem` is what is wrong with the definitions file.
    `traffic_down`: services are routed, and the traffic layer is not running."""

    pid: int
    since: str
    text: str
    version: int = 1
    problem: str = ""
    traffic_down: bool = False
    services: dict[str, ServiceStatus] = {}


def status_path(runtime_dir: str) -> Path:
    """Return the path of the status file."""
    return Path(runtime_dir) / "supervise.json"


def read_status(runtime_dir: str, locks: Locks) -> SupervisorStatus | None:
    """Return the status of the running `supervise`; None when its lock is free."""
    if not locks.is_held(SUPERVISE_LOCK):
        return None
    holder = locks.holder(SUPERVISE_LOCK)
    status = files.read(status_path(runtime_dir), SupervisorStatus)
    if status is not None and holder is not None and status.pid == holder.pid:
        return status
    pid, since = (holder.pid, holder.since) if holder else (0, "")
    return SupervisorStatus(pid=pid, since=since, text="the first pass is not complete")


def previous_services(runtime_dir: str) -> dict[str, ServiceStatus]:
    """Return what the previous `supervise` published of each service; empty when that cannot be read."""
    with contextlib.suppress(ConductorError):
        status = files.read(status_path(runtime_dir), SupervisorStatus)
        return status.services if status is not None else {}
    return {}
