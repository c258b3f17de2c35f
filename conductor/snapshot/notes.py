"""Notes on a service in `service status`: each is a fact that an operator should know, as a value with its text (pure)."""

import msgspec

from conductor.errors import ConductorError, LockHolder
from conductor.plan.journal import ChangeAction, Journal
from conductor.plan.release import Hold
from conductor.state.supervisor_status import ServiceStatus


class Note(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """One note. Times are RFC 3339 in UTC."""

    def describe(self) -> str:
        """Return the note as one line for people."""
        raise NotImplementedError


class InvalidDefinition(Note, frozen=True, tag="invalid-definition"):
    """The definition in the file is invalid. `problem` is the first problem, with its file, line and key."""

    problem: str

    def describe(self) -> str:
        """Return the note as one line for people."""
        return f"its definition is invalid: {self.problem}"


class UnknownKeys(Note, frozen=True, tag="unknown-keys"):
    """A newer version of Conductor stored the live release. This version does not know these keys of its definition."""

    keys: tuple[str, ...]

    def describe(self) -> str:
        """Return the note as one line for people."""
        return f"this version of Conductor ignores keys of the live release: {', '.join(self.keys)}"


class DamagedState(Note, frozen=True, tag="damaged-state"):
    """A state file of the service cannot be read. `error` and `hint` are those of the failed read."""

    error: str
    hint: str

    @classmethod
    def of(cls, error: ConductorError) -> "DamagedState":
        """Return the note on a failed read."""
        return cls(error=error.sentence, hint=error.hint)

    def describe(self) -> str:
        """Return the note as one line for people."""
        return f"{self.error}; {self.hint}" if self.hint else self.error


class Stopped(Note, frozen=True, tag="stopped"):
    """An operator stopped the service."""

    hold: Hold

    def describe(self) -> str:
        """Return the note as one line for people."""
        return f"stopped by {_hold(self.hold)}"


class Paused(Note, frozen=True, tag="paused"):
    """An operator paused the supervision of the service."""

    hold: Hold

    def describe(self) -> str:
        """Return the note as one line for people."""
        return f"supervision paused by {_hold(self.hold)}"


class Scaled(Note, frozen=True, tag="scaled"):
    """An operator set the number of replicas. `defined` is the number in the file; None when the definition is missing or
    invalid."""

    service: str
    count: int
    defined: int | None

    def describe(self) -> str:
        """Return the note as one line for people."""
        defined = "" if self.defined is None else f" (defined: {self.defined})"
        undo = f"conductor service scale --id {self.service} --reset"
        return f"scaled to {self.count} by an operator{defined}; to undo this, run {undo}"


class Busy(Note, frozen=True, tag="busy"):
    """Another process holds the lock of the service."""

    pid: int
    command: str
    since: str

    @classmethod
    def of(cls, holder: LockHolder) -> "Busy":
        """Return the note on a lock."""
        return cls(pid=holder.pid, command=holder.command, since=holder.since)

    def describe(self) -> str:
        """Return the note as one line for people."""
        return f"busy: process {self.pid} ({self.command}) has held its lock since {self.since}"


class Interrupted(Note, frozen=True, tag="interrupted"):
    """A change of the service was interrupted and is not recovered yet."""

    action: ChangeAction
    revision: str
    began: str

    @classmethod
    def of(cls, journal: Journal) -> "Interrupted":
        """Return the note on the change in a journal."""
        return cls(action=journal.action, revision=journal.release.revision, began=journal.began)

    def describe(self) -> str:
        """Return the note as one line for people."""
        return (
            f"the {self.action} to {self.revision}, started {self.began}, was interrupted; the next command on this service "
            "will recover it"
        )


class Drifted(Note, frozen=True, tag="drifted"):
    """The definition in the file differs from that of the live release."""

    def describe(self) -> str:
        """Return the note as one line for people."""
        return "drifted: the definition has changed since the release; upgrade or restart the service to apply it"


class TrafficDown(Note, frozen=True, tag="traffic-down"):
    """The traffic layer, which the service is behind, is not running."""

    def describe(self) -> str:
        """Return the note as one line for people."""
        return "nginx is not running, so no request reaches the service; run systemctl start nginx"


class MissingImage(Note, frozen=True, tag="missing-image"):
    """The image of the live release is not on this host, so tasks and cron jobs cannot start without pulling it."""

    image: str

    def describe(self) -> str:
        """Return the note as one line for people."""
        return f"its image {self.image} is missing: tasks and cron jobs fail if it cannot be pulled; run docker pull {self.image}"


class Stray(Note, frozen=True, tag="stray"):
    """Containers of the service that do not belong to the live release."""

    names: tuple[str, ...]

    def describe(self) -> str:
        """Return the note as one line for people."""
        return f"containers that are not of the live release: {', '.join(self.names)}"


class Supervise(Note, frozen=True, tag="supervise"):
    """What `supervise` published about the service."""

    status: ServiceStatus

    def describe(self) -> str:
        """Return the note as one line for people."""
        return f"supervise: {self.status}"


def _hold(hold: Hold) -> str:
    """Return who, since when, until when, and why."""
    until = f" until {hold.until}" if hold.until else ""
    return f"{hold.who} at {hold.since}{until}" + (f": {hold.reason}" if hold.reason else "")
