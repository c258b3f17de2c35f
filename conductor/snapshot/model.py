"""The types of the snapshot: what `service status --json` prints, and the rows of `cron list` (pure)."""

from enum import StrEnum

import msgspec

from conductor.plan.edges import EdgeState
from conductor.plan.route import TrafficState, Way
from conductor.snapshot.past import LastChange
from conductor.snapshot.rows import ReplicaRow, ServiceRow

VERSION = 1  # of the JSON document


class ReplicaSnapshot(ReplicaRow, frozen=True, kw_only=True):
    """One replica. `started` is when its container last started (RFC 3339, UTC). `memory` and `memory_limit` are in bytes.

    Each is None when it is unknown: the container is not running, or its cgroup cannot be read (then `memory` is None). Without
    a limit, only `memory_limit` is None. `routed`: nginx sends requests to it; None when the service is not behind nginx.
    """

    started: str | None = None
    memory: int | None = None
    memory_limit: int | None = None
    routed: bool | None = None


class RouteSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """What nginx does for one service: its state, the number of endpoints that it sends requests to (None: unknown), and at
    how many of them a replica is `running`.

    With 0 endpoints, nginx returns 503. `cutover` is how requests are switched to other replicas. `pending`: the definitions
    file sets a different way, which takes effect at the next `conductor nginx install`.
    """

    state: TrafficState
    endpoints: int | None
    running: int | None
    cutover: Way = Way.RELOAD
    pending: bool = False


class CronSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The installed crontab of one service: the number of jobs, and the commands of those whose last run failed."""

    jobs: int
    failing: tuple[str, ...]


class ServiceSnapshot(ServiceRow, frozen=True, kw_only=True):
    """One service. `revision` is the one that should be running; `running_revisions` are those of its running replicas.

    `deployed` is when the live release was committed, and `last_change` the latest change; each is None when it is not in the
    latest part of the history. `restarts` is how often `supervise` replaced or started replicas in the last hour; Docker
    itself restarts none. `nginx` is None when the service is not behind nginx, `cron` when no crontab is installed.
    `edges` exists only in a fleet.
    """

    replicas: tuple[ReplicaSnapshot, ...] = ()
    running_revisions: tuple[str, ...] = ()
    deployed: str | None = None
    restarts: int = 0
    last_change: LastChange | None = None
    nginx: RouteSnapshot | None = None
    cron: CronSnapshot | None = None
    edges: tuple[EdgeState, ...] | msgspec.UnsetType = msgspec.UNSET


class HostSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The JSON document of `service status`. `time` is when it was created (RFC 3339, UTC), `nginx` the state of nginx."""

    version: int = VERSION
    time: str
    supervise_running: bool
    nginx: TrafficState
    services: tuple[ServiceSnapshot, ...]


class JobState(StrEnum):
    """The state of a job. `LOST`: its last run started, but its end was not recorded."""

    NEVER = "never"
    RUNNING = "running"
    DONE = "done"
    LOST = "lost"
    DAMAGED = "damaged"  # its last result or its schedule cannot be read


class JobRow(msgspec.Struct, frozen=True, kw_only=True):
    """One installed job. `next_run` (None for `@reboot`) and `began` are RFC 3339 in UTC; `began` is empty if it has
    never run. `failures` counts the failed runs since the last successful one. `output` is the end of the last run's output,
    or the error if the result is damaged. With `image_missing`, the image of the job's release is not on this host, so the
    next run must pull it."""

    service: str
    revision: str
    job: str
    schedule: str
    command: str
    next_run: str | None
    state: JobState
    last_revision: str = ""
    began: str = ""
    seconds: float | None = None
    exit_code: int | None = None
    skipped: int = 0
    output: str = ""
    failures: int = 0
    image_missing: bool = False
