"""The supervisor status: what `supervise` publishes about each service, for `status` and for its own next start."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from conductor.errors import ConductorError
from conductor.plan.backoff import RESET_SECONDS
from conductor.plan.reason import AnyReason, AsWanted, NeverDeployed, Paused
from conductor.plan.reconcile import Condition
from conductor.plan.route import NO_ANSWER, NO_ANSWER_FIX, TRAFFIC_FIXES, TrafficState
from conductor.state import files
from conductor.state.locks import Locks
from conductor.times import duration_text, time_text

FRESH_SECONDS = 15.0  # three passes
NOT_RUNNING = "supervise is not running"
START_SUPERVISE = "systemctl start conductor-supervise   (conductor supervise --print-unit prints its unit)"
SUPERVISE_LOCK = "supervise.loop"  # held while `supervise` runs; no service id contains a dot


class ServiceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One service. Scripts should use `reason`; `text` is the same in human-readable form.

    `until` is when the next action is due (RFC 3339, UTC), if any. `attempts` counts repairs, successful
    ones too, since the service was last healthy for `RESET_SECONDS` or changed by a command. `last_attempt` is when the latest repair ended (RFC 3339, UTC) and `change` the latest committed change.
    Earlier versions wrote the number `last` instead, which is ignored.
    """

    reason: AnyReason
    text: str
    until: str = ""
    attempts: int = 0
    last_attempt: str | None = None
    change: str = ""

    @property
    def needs_attention(self) -> bool:
        """True unless no action is due and the service is as wanted, never deployed or paused."""
        return bool(self.until) or not isinstance(self.reason, AsWanted | NeverDeployed | Paused)

    def __str__(self) -> str:
        due = f"; next action at {time_text(self.until)}" if self.until else ""
        if not self.attempts:
            return self.text + due
        attempts = f"{self.attempts} attempt{'s' * (self.attempts != 1)}"
        if isinstance(self.reason, AsWanted):
            repairs = f"{self.attempts} repair attempt{'s' * (self.attempts != 1)}"
            reset = f"the count resets once the service has been healthy for {duration_text(RESET_SECONDS)}"
            return f"{self.text} after {repairs}{due} ({reset})"
        return f"{self.text}{due}, {attempts} so far"


class ReplicaStatus(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The health of one running replica. `answer` is the result of the last check if it failed, without secrets."""

    condition: Condition
    answer: str = ""


class SupervisorStatus(msgspec.Struct, frozen=True, kw_only=True):
    """`supervise.json` in the runtime directory. `problem` is what is wrong with the definitions file.
    `traffic_down`: services are routed, and the traffic layer has none of their routes; `traffic` says why. `replicas` has the
    health by container id."""

    pid: int
    since: str
    text: str
    version: int = 1
    problem: str = ""
    traffic_down: bool = False
    traffic: TrafficState = TrafficState.RUNNING
    services: dict[str, ServiceStatus] = {}
    replicas: dict[str, ReplicaStatus] = {}


def traffic_problem(state: TrafficState) -> str:
    """Return why no requests reach the services behind nginx, and the command that fixes it; empty when it is running."""
    if state is TrafficState.RUNNING:
        return ""
    if state is TrafficState.NOT_ANSWERING:
        return f"{NO_ANSWER}, so requests may fail: {NO_ANSWER_FIX}"
    what = "nginx is not running" if state.is_down else "nginx is running without Conductor's files"
    return f"{what}, so no requests reach the services behind it: {TRAFFIC_FIXES[state]}"


def status_path(runtime_dir: str) -> Path:
    """Return the path of the status file."""
    return Path(runtime_dir) / "supervise.json"


def read_status(runtime_dir: str, locks: Locks) -> SupervisorStatus | None:
    """Return the status of the running `supervise`; None when its lock is free."""
    if not locks.is_held(SUPERVISE_LOCK):
        return None
    holder = locks.holder(SUPERVISE_LOCK)
    path = status_path(runtime_dir)
    repair = f"run rm {path}: supervise recreates it when its status next changes, or at once after systemctl restart conductor-supervise"
    status = files.read(path, SupervisorStatus, repair=repair)
    if status is not None and holder is not None and status.pid == holder.pid:
        return status
    pid, since = (holder.pid, holder.since) if holder else (0, "")
    return SupervisorStatus(pid=pid, since=since, text="the first pass has not finished")


def published_health(runtime_dir: str, status: SupervisorStatus | None, wall: float) -> Mapping[str, ReplicaStatus]:
    """Return the health by container id; empty if no pass has ended in the last `FRESH_SECONDS`, so that no old result is
    shown as current. `wall` is the time now, in seconds since 1970."""
    with contextlib.suppress(OSError):
        if status is not None and wall - status_path(runtime_dir).stat().st_mtime < FRESH_SECONDS:
            return status.replicas
    return {}


def previous_services(runtime_dir: str) -> dict[str, ServiceStatus]:
    """Return what the previous `supervise` published of each service; empty when that cannot be read."""
    with contextlib.suppress(ConductorError):
        status = files.read(status_path(runtime_dir), SupervisorStatus)
        return status.services if status is not None else {}
    return {}
