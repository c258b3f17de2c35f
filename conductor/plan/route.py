"""What the traffic layer is given and gives back (pure)."""

from enum import StrEnum
from typing import Any

import msgspec

from conductor.definitions.model import Definition
from conductor.plan.release import Maintenance


class TrafficState(StrEnum):
    """The condition of the traffic layer. `NOT_LOADED`: it is running, but without the routes that Conductor wrote.
    `NOT_ANSWERING`: it is running with them, but does not answer, as one that has no connections left.
    `FILES_MISSING`: it is not running, and Conductor's files, without which it may not start, are missing."""

    RUNNING = "running"
    NOT_LOADED = "not-loaded"
    NOT_ANSWERING = "not-answering"
    DOWN = "down"
    FILES_MISSING = "files-missing"

    @property
    def is_down(self) -> bool:
        """True when the traffic layer is not running."""
        return self in {TrafficState.DOWN, TrafficState.FILES_MISSING}


class Way(StrEnum):
    """How requests for a service are switched to other replicas: by a reload, or in the running traffic layer."""

    RELOAD = "reload"
    LIVE = "live"


NO_ANSWER = "nginx is running, but is not responding on Conductor's socket"
NO_ANSWER_FIX = "look for the cause in nginx's error log, for example too few worker_connections"
TRAFFIC_FIXES = {
    TrafficState.NOT_LOADED: "conductor nginx install",
    TrafficState.DOWN: "systemctl start nginx",
    TrafficState.FILES_MISSING: "conductor nginx install && systemctl start nginx",
}  # the command that makes it run with Conductor's routes


class Split(msgspec.Struct, frozen=True):
    """Endpoints of new replicas, and the percentage of the requests that they get."""

    endpoints: tuple[str, ...]
    percent: float


class Route(msgspec.Struct, frozen=True):
    """One service as the traffic layer should see it. Without endpoints (`IP:PORT`) it returns 503.

    `template` is the text of its server template as the release has it; None: the file that the definition names. In
    maintenance every request gets 503; the endpoints are those that get the requests again afterwards. With a `split`,
    other endpoints get a share of the requests.
    """

    definition: Definition
    endpoints: tuple[str, ...]
    template: str | None = None
    maintenance: Maintenance | None = None
    split: Split | None = None

    @property
    def all_endpoints(self) -> tuple[str, ...]:
        """Every endpoint that gets requests."""
        return self.endpoints + (self.split.endpoints if self.split else ())

    @property
    def service(self) -> str:
        """The id of the service."""
        return self.definition.id


class Cutover(msgspec.Struct, frozen=True, kw_only=True):
    """What an implementation of the traffic port needs to undo or drain a switch. `state` belongs to that implementation
    and is JSON: the journal stores it unread."""

    implementation: str
    state: dict[str, Any]
