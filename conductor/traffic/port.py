"""The traffic port: what Conductor needs from whatever routes requests. Independent of the implementation."""

from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Protocol

import msgspec

from conductor.errors import ConductorError
from conductor.plan.canary import Comparison
from conductor.plan.edges import EdgeState
from conductor.plan.route import Cutover, Route, TrafficState, Way
from conductor.times import duration_text

HOW_TO_KEEP = "to keep such a change, see: conductor help nginx"


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """How a drain ended: `cut` requests were still with an old replica at the deadline, and `silent` client connections
    had sent no request. `unknown`: the traffic layer did not answer at the deadline, so there may be more."""

    cut: int = 0
    silent: int = 0
    unknown: bool = False


class Draining(msgspec.Struct, frozen=True, kw_only=True):
    """What a drain is waiting for: `requests` in an old replica, client `connections` without one that may still send one,
    and `workers` of the traffic layer that have not exited. At the latest, the drain ends in `seconds_left`. In a fleet, `edges`
    are those that have not ended it."""

    requests: int
    connections: int
    workers: int
    seconds_left: float
    edges: tuple[str, ...] = ()

    def __str__(self) -> str:
        requests = f"{self.requests} request{'s' * (self.requests != 1)} to old replicas"
        connections = f"{self.connections} idle connection{'s' * (self.connections != 1)}"
        workers = f"{self.workers} old nginx worker{'s' * (self.workers != 1)}"
        left = duration_text(self.seconds_left)  # first, because a terminal may cut the line
        if self.edges:
            return f"{left} left for edge{'s' * (len(self.edges) > 1)} {', '.join(self.edges)}"
        return f"{left} left, {requests}, {connections}, {workers}"


class Unreached(msgspec.Struct, frozen=True, kw_only=True):
    """A name of a service whose requests at `address` do not reach it. `everything`: no other request reaches it either."""

    service: str
    name: str
    address: str
    everything: bool


class ManagedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that Conductor writes: the wanted text, and the present one (None: absent).

    `at_boot`: without the file, the traffic layer cannot start after a reboot.
    """

    path: Path
    wanted: str
    present: str | None
    at_boot: bool = False


class Installed(msgspec.Struct, frozen=True, kw_only=True):
    """What `install` wrote, by name, and which files of the operator the traffic layer has loaded because they changed."""

    wrote: tuple[str, ...] = ()
    loaded: tuple[str, ...] = ()


class TrafficUnavailable(ConductorError):  # noqa: N818 (a state that `install` accepts)
    """The traffic layer is not running."""


class TrafficRefused(ConductorError):  # noqa: N818 (the refusal of a configuration)
    """The traffic layer refuses its configuration."""


class Traffic(Protocol):
    """The traffic layer of this host."""

    def is_running(self) -> bool:
        """True when the traffic layer answers."""

    def state(self) -> TrafficState:
        """Return whether the traffic layer answers, and if not, whether it is running without Conductor's routes."""

    def check(self, routes: Collection[Route]) -> tuple[str, ...]:
        """Refuse, before anything is changed, what would make a switch to `routes` fail.

        Return a warning for each of their services, or server names, that requests may not reach.
        """

    def verify(self, routes: Collection[Route]) -> tuple[str, ...]:
        """Raise if the configuration in place is invalid; else return the warnings of `check`. Nothing is changed.

        The traffic layer need not be running.
        """

    def version(self) -> str:
        """Return the version of the program that routes requests, for example 1.22.1. Raise when it is not installed."""

    def limits_old_connections(self) -> bool:
        """True when the configuration limits how long a connection from before a switch may last."""

    def serves(self, routes: Collection[Route]) -> bool:
        """True when exactly `routes` are in force."""

    def switch(self, routes: Collection[Route], record: Callable[[Cutover], None]) -> tuple[Unreached, ...]:
        """Send new requests to `routes`, and verify this; raise when that fails. Do nothing when they are in force.

        Return the names whose requests do not reach their service, because they are routed by what is not Conductor's.
        `record` is called before anything changes, and again with what is left to drain once the switch is verified.
        """

    def undo(self, cutover: Cutover, services: Collection[str], record: Callable[[Cutover], None]) -> None:
        """Restore what was in force before the switch that recorded `cutover`, and verify it; raise when that fails.

        Only `services` are restored: others of the switch may have changed since. `record` is called as in `switch`, and
        an undo of what it recorded restores the same state.
        """

    def drain(
        self, cutover: Cutover, endpoints: Collection[str], seconds: float, progress: Callable[[Draining], None]
    ) -> Drained:
        """Wait until no request can reach, or is in, `endpoints` (`IP:PORT`) any more; at most `seconds`."""

    def serving(self, service: str) -> frozenset[str]:
        """Return the endpoints that requests for the service go to."""

    def way(self, service: str) -> Way:
        """Return how requests for the service are switched now. It may differ from what the definitions file chooses."""

    def compared(self, service: str) -> Comparison:
        """Return what was counted since the service got a route with a `split`."""

    def edges(self, service: str) -> tuple[EdgeState, ...]:
        """Return what the edges of a fleet have confirmed; nothing on a single host."""

    def edited(self, service: str) -> Path | None:
        """Return the file with the service's route if it was changed by hand. It is overwritten with the next switch."""

    def known(self) -> frozenset[str]:
        """Return every endpoint that a request may still be sent to. None of these may be given to a new replica."""

    def load(self) -> None:
        """Load what is configured, if a process was killed before it loaded it."""

    def install(self, routes: Collection[Route], keep: Collection[str]) -> Installed:
        """Write `routes`, and remove the routes of services that are not in `keep` and not referred to.

        Load this, and what the operator has changed since the traffic layer loaded its configuration.
        """

    def files(self, routes: Collection[Route]) -> tuple[ManagedFile, ...]:
        """Return the files that a switch to `routes` would write."""

    def notices(self, routes: Collection[Route]) -> tuple[str, ...]:
        """Return a notice for each setting that has no effect on this host, and each of `routes` that gets no requests."""

    def installed_files(self) -> tuple[ManagedFile, ...]:
        """Return the files that only `install` writes."""


def edited_warning(path: Path) -> str:
    """Return the warning that a file which was changed by hand is overwritten."""
    return f"{path} was edited by hand, and Conductor overwrites it; {HOW_TO_KEEP}"


def missing_at_boot(installed: Iterable[ManagedFile]) -> tuple[Path, ...]:
    """Return the missing files without which the traffic layer cannot start after a reboot."""
    return tuple(file.path for file in installed if file.at_boot and file.present is None)
