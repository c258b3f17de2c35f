"""Notes on a service in `service status`: each is a fact that an operator should know, as a value with its text (pure).

The module is long because each kind of note is a class.
"""

import msgspec

from conductor.errors import ConductorError, LockHolder
from conductor.plan.journal import ChangeAction, Journal, noun, to_revision
from conductor.plan.reason import Unreadable
from conductor.plan.release import Hold
from conductor.plan.route import NO_ANSWER, NO_ANSWER_FIX, TRAFFIC_FIXES, TrafficState
from conductor.plan.transition import Drift
from conductor.state.supervisor_status import ServiceStatus
from conductor.times import time_text


class Note(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """One note. Times are RFC 3339 in UTC. `text` is the note as one human-readable line."""

    text: str = ""

    def __post_init__(self) -> None:
        msgspec.structs.force_setattr(self, "text", self._describe())

    def _describe(self) -> str:
        raise NotImplementedError  # each kind of note has its own


class InvalidDefinition(Note, frozen=True, tag="invalid-definition"):
    """The definition in the file is invalid. `problem` is the first problem, with its file, line and key."""

    problem: str

    def _describe(self) -> str:
        return f"its definition is invalid: {self.problem}"


class UnknownKeys(Note, frozen=True, tag="unknown-keys"):
    """A newer version of Conductor stored the live release. This version ignores these keys of its definition."""

    keys: tuple[str, ...]

    def _describe(self) -> str:
        return f"this version of Conductor ignores keys of the live release: {', '.join(self.keys)}"


class DamagedState(Note, frozen=True, tag="damaged-state"):
    """A state file of the service cannot be read. `error` and `hint` describe the failed read."""

    error: str
    hint: str

    @classmethod
    def of(cls, error: ConductorError) -> "DamagedState":
        """Return the note on a failed read."""
        return cls(error=error.sentence, hint=error.hint)

    def _describe(self) -> str:
        return f"{self.error}; {self.hint}" if self.hint else self.error


class Stopped(Note, frozen=True, tag="stopped"):
    """An operator stopped the service."""

    service: str
    hold: Hold

    def _describe(self) -> str:
        return f"stopped by {_hold(self.hold)}; to start it, run conductor service start --id {self.service}"


class Paused(Note, frozen=True, tag="paused"):
    """An operator paused supervision of the service."""

    service: str
    hold: Hold

    def _describe(self) -> str:
        resume = f"conductor supervise resume --id {self.service}"
        return f"supervision paused by {_hold(self.hold)}; to end the pause, run {resume}"


class InMaintenance(Note, frozen=True, tag="maintenance"):
    """An operator put the service into maintenance: nginx returns 503 for every request."""

    service: str
    hold: Hold

    def _describe(self) -> str:
        off = f"conductor service maintenance --id {self.service} off"
        return f"put into maintenance by {_hold(self.hold)}; nginx returns 503; to end maintenance, run {off}"


class Scaled(Note, frozen=True, tag="scaled"):
    """An operator set the number of replicas. `defined` is the number in the file; None when the definition is missing or
    invalid."""

    service: str
    count: int
    defined: int | None

    def _describe(self) -> str:
        defined = "" if self.defined is None else f" (defined: {self.defined})"
        undo = f"conductor service scale --id {self.service} --reset"
        return f"scaled to {self.count} by an operator{defined}; to undo this, run {undo}"


class Busy(Note, frozen=True, tag="busy"):
    """Another process holds the service's lock."""

    pid: int
    command: str
    since: str

    @classmethod
    def of(cls, holder: LockHolder) -> "Busy":
        """Return the note on a lock."""
        return cls(pid=holder.pid, command=holder.command, since=holder.since)

    def _describe(self) -> str:
        return f"busy: process {self.pid} ({self.command}) has held this service's lock since {time_text(self.since)}"


class Interrupted(Note, frozen=True, tag="interrupted"):
    """A change to the service was interrupted and has not been recovered yet."""

    action: ChangeAction
    revision: str
    began: str

    @classmethod
    def of(cls, journal: Journal) -> "Interrupted":
        """Return the note on the change in a journal."""
        return cls(action=journal.action, revision=journal.release.revision, began=journal.began)

    def _describe(self) -> str:
        return (
            f"the {noun(self.action)}{to_revision(self.action, self.revision)}, which started at {time_text(self.began)}, was interrupted; "
            "supervise or the next command on this service will recover it"
        )


class Drifted(Note, frozen=True, tag="drifted"):
    """The definition in the file, or another file that the live release uses, has changed since the release."""

    service: str
    changed: tuple[Drift, ...]
    revision: str = ""

    @property
    def problem(self) -> str:
        """What changed, without what to do."""
        return f"{' and '.join(_CHANGED[one] for one in self.changed)} changed after the last deploy"

    @property
    def fix(self) -> str:
        """The command that applies the changes."""
        if Drift.IMAGE in self.changed:
            return f"conductor service upgrade --id {self.service} --revision {self.revision}"
        return f"conductor service restart --id {self.service}"

    def _describe(self) -> str:
        return f"drifted: {self.problem}; to apply the changes, run {self.fix}"


_CHANGED = {
    Drift.IMAGE: "the image in the definition",
    Drift.DEFINITION: "the definition",
    Drift.ENVIRONMENT: "the contents of secret or env files",
    Drift.TEMPLATE: "the server template",
}


class TrafficDown(Note, frozen=True, tag="traffic-down"):
    """The traffic layer, which the service is behind, is not running."""

    state: TrafficState = TrafficState.DOWN

    def _describe(self) -> str:
        return f"nginx is not running, so no requests reach the service; run {TRAFFIC_FIXES[self.state]}"


class TrafficNotLoaded(Note, frozen=True, tag="traffic-not-loaded"):
    """The traffic layer, which the service is behind, is running without Conductor's routes."""

    def _describe(self) -> str:
        why = "nginx is running without Conductor's files, so no requests reach the service"
        return f"{why}; run {TRAFFIC_FIXES[TrafficState.NOT_LOADED]}"


class TrafficNotAnswering(Note, frozen=True, tag="traffic-not-answering"):
    """The traffic layer, which the service is behind, is running and is not responding."""

    def _describe(self) -> str:
        return f"{NO_ANSWER}, so requests may fail; {NO_ANSWER_FIX}"


class SuperviseDown(Note, frozen=True, tag="supervise-down"):
    """Replicas are missing, and `supervise`, which would start them, is not running."""

    service: str

    def _describe(self) -> str:
        start = f"conductor service start --id {self.service}"
        return f"supervise is not running, so the missing replicas are not started; run {start}"


class MissingImage(Note, frozen=True, tag="missing-image"):
    """The image of the live release is not on this host, so tasks and cron jobs cannot start without pulling it."""

    image: str

    def _describe(self) -> str:
        return f"its image {self.image} is missing: tasks and cron jobs fail if it cannot be pulled; run docker pull {self.image}"


class MissingCrontab(Note, frozen=True, tag="missing-crontab"):
    """The live release has a crontab with this number of jobs, but its file is not installed."""

    service: str
    path: str
    jobs: int

    @property
    def problem(self) -> str:
        """What is missing, without what to do."""
        jobs = f"{self.jobs} cron job{'s' * (self.jobs != 1)}"
        return f"its crontab {self.path} is missing, so {jobs} {'do' if self.jobs != 1 else 'does'} not run"

    def _describe(self) -> str:
        return f"{self.problem}; run conductor cron install --id {self.service}"


class FailingJobs(Note, frozen=True, tag="failing-jobs"):
    """Cron jobs that keep failing, by their commands."""

    service: str
    commands: tuple[str, ...]

    @property
    def problem(self) -> str:
        """How many keep failing."""
        many = len(self.commands) != 1
        return f"{len(self.commands)} cron job{'s' * many} keep{'s' * (not many)} failing"

    def _describe(self) -> str:
        return f"{self.problem}: {'; '.join(self.commands)}; to see why, run conductor cron list --id {self.service}"


class CronCommandMissing(Note, frozen=True, tag="cron-command-missing"):
    """The service has cron jobs, but the program that they run is missing on the host. `problem` is a sentence with the
    command that creates it."""

    problem: str

    def _describe(self) -> str:
        return self.problem


class Stray(Note, frozen=True, tag="stray"):
    """Containers of the service that do not belong to the live release, and the command that removes them."""

    names: tuple[str, ...]
    fix: str

    @property
    def problem(self) -> str:
        """Which containers, without what to do."""
        return f"containers that do not belong to the live release: {', '.join(self.names)}"

    def _describe(self) -> str:
        return f"{self.problem}; to remove them, run {self.fix}"


class Unrecorded(Note, frozen=True, tag="unrecorded"):
    """Containers of a service without a recorded release, and the command that replaces or removes them. They may serve
    requests: the state was lost, or the file system with the state directory is not mounted."""

    service: str
    names: tuple[str, ...]
    state_dir: str
    fix: str

    @property
    def problem(self) -> str:
        """What is there and what is not, without what to do."""
        return f"{self.state_dir} contains no release of {self.service}, but {self.service} has containers: {', '.join(self.names)}"

    @property
    def remedy(self) -> str:
        """What to do."""
        return f"if the file system that holds {self.state_dir} is not mounted, mount it; otherwise run {self.fix}"

    def _describe(self) -> str:
        return f"{self.problem}; {self.remedy}"


class Retiring(Note, frozen=True, tag="retiring"):
    """Old replicas that have received the stop signal, and that `supervise` will remove."""

    names: tuple[str, ...]

    def _describe(self) -> str:
        return f"old replicas that are stopping: {', '.join(self.names)}"


class Supervise(Note, frozen=True, tag="supervise"):
    """What `supervise` published about the service."""

    status: ServiceStatus

    def _describe(self) -> str:
        return f"supervise: {self.status}"


AnyNote = (
    InvalidDefinition
    | UnknownKeys
    | DamagedState
    | Stopped
    | Paused
    | InMaintenance
    | Scaled
    | Busy
    | Interrupted
    | Drifted
    | TrafficDown
    | TrafficNotLoaded
    | TrafficNotAnswering
    | SuperviseDown
    | MissingImage
    | MissingCrontab
    | FailingJobs
    | CronCommandMissing
    | Stray
    | Unrecorded
    | Retiring
    | Supervise
)


def needs_operator(note: Note) -> bool:
    """Return whether the service needs an operator, who has to do what the note contains. Such a service is not `ok`."""
    if isinstance(note, Supervise):
        return isinstance(note.status.reason, Unreadable)  # for anything else, `supervise` retries
    return isinstance(
        note,
        InvalidDefinition
        | DamagedState
        | TrafficDown
        | TrafficNotLoaded
        | TrafficNotAnswering
        | MissingImage
        | MissingCrontab
        | FailingJobs
        | CronCommandMissing
        | Unrecorded,
    )


def _hold(hold: Hold) -> str:
    """Return who, since when, until when, and why."""
    until = f" until {time_text(hold.until)}" if hold.until else ""
    return f"{hold.who} at {time_text(hold.since)}{until}" + (f": {hold.reason}" if hold.reason else "")
