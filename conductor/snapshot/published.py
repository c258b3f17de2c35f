"""What `supervise` publishes for `conductor web`: the whole host as one document, without secrets and environments (pure)."""

import re
from pathlib import Path

import msgspec

from conductor.plan.history import HistoryAction, HistoryEntry, Outcome
from conductor.plan.journal import ChangeAction, StepName
from conductor.snapshot.model import HostSnapshot, JobRow

VERSION = 1  # of the document; a reader refuses any other
STALE_SECONDS = 15.0  # three passes: after this time without a new document, `supervise` is not running

# As `definitions.environment` finds them in variables, but within JSON. The length bounds the time for a long text.
_CREDENTIALS = re.compile(rb"""://([^\s/?#@"\\]{1,200}|[^\s/?#@:"\\]{0,200}:(?!\d+/)[^\s"\\]{1,200})@""")


class Sum(msgspec.Struct, kw_only=True):
    """A number of durations, and how long all of them took."""

    count: int = 0
    seconds: float = 0.0

    def add(self, seconds: float) -> None:
        """Add one."""
        self.count += 1
        self.seconds += seconds


class ChecksTotal(msgspec.Struct, frozen=True, kw_only=True):
    """The health checks of one service."""

    service: str
    passed: int
    failed: int
    seconds: float


class ActionTotal(msgspec.Struct, kw_only=True):
    """The entries of the history with one service, action and outcome. `last` is when the latest of them ended."""

    service: str
    action: HistoryAction
    outcome: Outcome
    durations: Sum
    last: str = ""


class Totals(msgspec.Struct, kw_only=True):
    """What has happened since `supervise` started: passes (`failed_passes` among them), health checks, entries of the history,
    the durations of steps, the requests that drains cut, and the waits of changes for locks. `last_pass` is when the latest
    pass succeeded."""

    passes: Sum = msgspec.field(default_factory=Sum)
    failed_passes: int = 0
    last_pass: str = ""
    checks: tuple[ChecksTotal, ...] = ()
    actions: list[ActionTotal] = []
    steps: dict[StepName, Sum] = {}
    cut_requests: dict[str, int] = {}
    lock_waits: Sum = msgspec.field(default_factory=Sum)


class Change(msgspec.Struct, frozen=True, kw_only=True, rename={"from_": "from"}):
    """A change in progress, from the journals of its services. `plan` are its steps, `steps` the durations of those that have
    ended. Without `running`, its process has ended, and the next command or pass recovers the change."""

    change: str
    services: tuple[str, ...]
    action: ChangeAction
    who: str
    command: str
    began: str
    from_: str | None
    to: str
    plan: tuple[StepName, ...]
    steps: dict[StepName, float]
    running: bool

    @property
    def current(self) -> StepName | None:
        """The step that is carried out now; None if the change has no step left or was interrupted."""
        return next((step for step in self.plan if step not in self.steps), None) if self.running else None


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """The file system of a directory, in bytes."""

    directory: str
    free: int
    size: int


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The host. Memory is in bytes; `runtime` is what runs the containers, with its version, and empty until that is known."""

    name: str
    memory: int
    memory_available: int
    disks: tuple[Disk, ...]
    runtime: str


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """The document. `conductor` is the version of Conductor that wrote it, `since` when `supervise` started, `ended` when it
    ended (empty while it runs), `written` when it was written.

    `waiting_for` is why the last pass failed, `problem` what is wrong with the definitions file, which was valid at
    `definitions_valid`. `checks` are the last health checks by container id, oldest first: `+` passed, `-` failed, `?` could
    not be made. `history` has the latest entries of each service, newest first. `definitions` are those of the live releases
    as JSON, without values that may be secrets.
    """

    version: int = VERSION
    conductor: str
    pid: int
    since: str
    written: str
    ended: str = ""
    waiting_for: str = ""
    problem: str = ""
    definitions_valid: str = ""
    status: HostSnapshot
    jobs: tuple[JobRow, ...] = ()
    changes: tuple[Change, ...] = ()
    history: tuple[HistoryEntry, ...] = ()
    checks: dict[str, str] = {}
    definitions: dict[str, str] = {}
    machine: Machine
    totals: Totals


class PublishedLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line that a replica printed, without secrets and control characters. `time` is RFC 3339, UTC, or empty."""

    time: str
    replica: str
    text: str


class PublishedLog(msgspec.Struct, frozen=True, kw_only=True):
    """The latest log lines of one service, oldest first. Without `complete`, some could not be read."""

    version: int = VERSION
    complete: bool
    lines: tuple[PublishedLine, ...]


def without_credentials(text: bytes) -> bytes:
    """Return a text or a JSON document without the user names and passwords of URLs, which anything that people or apps write
    may contain."""
    return _CREDENTIALS.sub(b"://[secret]@", text)


def published_path(runtime_dir: str) -> Path:
    """Return the path of the document.

    Every user may read the file, and only root may enter the directory above its own: the unit of `conductor web` mounts
    the inner directory, and so no other process reads the document.
    """
    return Path(runtime_dir) / "public" / "snapshot" / "host.json"


def log_path(document: Path, service: str) -> Path:
    """Return the path of the log lines of a service, beside the document."""
    return document.parent / "logs" / f"{service}.json"
