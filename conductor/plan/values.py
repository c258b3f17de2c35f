"""The words of DESIGN section 1 as frozen values: release, wanted state, container as observed, nginx worker."""

from typing import Any, Literal, NamedTuple

import msgspec

Kind = Literal["service", "task", "cron", "console", "hook"]


class Image(NamedTuple):
    """A local image: its id, and the digest by which its registry knows it (`REPOSITORY@sha256:…`; empty when it came from
    none)."""

    id: str
    digest: str


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Service + revision + image id + definition as committed; `definition` holds secrets as references only, `crontab`
    is what the app printed as its own."""

    service: str
    revision: str
    image: str
    image_id: str
    image_digest: str = ""
    digest: str
    change: str
    definition: dict[str, Any]
    crontab: str = ""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """Why, by whom and until when a service is stopped or paused; `until` None means until told otherwise."""

    reason: str
    who: str
    since: str
    until: str | None = None

    def is_over(self, now: str) -> bool:
        """Whether its time has passed; times of one format are in the order of their text."""
        return self.until is not None and self.until <= now


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What should run of one service; its file is the commit point of every change."""

    service: str
    version: int = 1
    release: Release | None = None
    kept: tuple[Release, ...] = ()
    scale: int | None = None
    stopped: Held | None = None
    paused: Held | None = None
    change: str = ""

    def with_release(self, release: Release, keep: int) -> "Wanted":
        """The same with `release` live, and the ones before it kept for rollback: `keep` at most, newest first."""
        before = (self.release, *self.kept) if self.release else self.kept
        others = tuple(r for r in before if r.revision != release.revision)
        return msgspec.structs.replace(self, release=release, kept=others[:keep])


class Container(msgspec.Struct, frozen=True, kw_only=True):
    """One container of this instance, as the daemon's list shows it. `address` is `IP:PORT`, or empty;
    `job` the key of a cron job, or empty, `created` when it was made (seconds since 1970)."""

    id: str
    name: str
    service: str
    revision: str
    kind: str
    digest: str
    change: str
    address: str
    image_id: str
    state: str
    job: str = ""
    created: float = 0.0

    @property
    def running(self) -> bool:
        """Whether the daemon says that it runs."""
        return self.state == "running"


class ContainerState(msgspec.Struct, frozen=True, kw_only=True):
    """One container looked at closely. `exit_code` is None while it runs; `address` is where it can be reached,
    `since` when it ended, or was made (RFC 3339)."""

    running: bool
    exit_code: int | None
    out_of_memory: bool
    address: str
    error: str = ""
    since: str = ""

    def __str__(self) -> str:
        if self.running:
            return "running"
        if self.out_of_memory:
            return f"killed: out of memory (exit code {self.exit_code})"
        if self.exit_code is None:
            return self.error
        return f"exited with code {self.exit_code}" + (f": {self.error}" if self.error else "")


class Worker(NamedTuple):
    """An nginx worker process: pid and start time in clock ticks since boot, which together are never reused."""

    pid: int
    started: int


class Cutover(msgspec.Struct, frozen=True, kw_only=True):
    """What nginx was when a cutover began; nothing that it knew is forgotten before its `workers` are gone.

    `files` are the former texts of the files that change (None: there was none), `ports` where clients arrive, `plain`
    whether one client connection uses one upstream connection at a time in all that these workers may run.
    """

    workers: tuple[Worker, ...] = ()
    files: dict[str, str | None] = {}
    ports: tuple[int, ...] = ()
    plain: bool = False


class Journal(msgspec.Struct, frozen=True, kw_only=True):
    """A change of one service under way. Intent first, then each step before it begins.

    `old` was wanted when it began, `new` is what the commit writes. `group` are the ids that transition together.
    `before` are the addresses of what ran, `keep` those of them that stay, `after` all that shall run.
    `stopped`: old containers were stopped before new ones started (`order: stop-first`).
    `cutover` is None until nginx is about to be changed. `why`: the reason of what no person has asked for.
    """

    change: str
    service: str
    action: str
    command: str
    who: str
    began: str
    old: Wanted
    new: Wanted
    version: int = 1
    group: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    stopped: bool = False
    after: tuple[str, ...] = ()
    cutover: Cutover | None = None
    steps: dict[str, float] = {}
    why: str = ""

    @property
    def release(self) -> Release:
        """The release that new containers are of."""
        if self.new.release is None:
            raise ValueError(f"the journal of {self.service} names no release")
        return self.new.release


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One health check: its status and the head of the body, or why there was no answer. `unknown`: nobody could ask, which
    says nothing of the container."""

    ok: bool
    seconds: float
    status: int | None = None
    head: str = ""
    error: str = ""
    unknown: bool = False

    def __str__(self) -> str:
        if self.status is None:
            return self.error + (f": {self.head}" if self.head else "")
        return f"status {self.status}" + (f" {self.head!r}" if self.head else "")
