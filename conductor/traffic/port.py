"""The traffic port: what Conductor needs from whatever routes requests. Independent of the implementation."""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

import msgspec

from conductor.errors import ConductorError
from conductor.plan.route import Cutover, Route


class Drained(msgspec.Struct, frozen=True, kw_only=True):
    """How a drain ended: `cut` requests were still with an old replica at the deadline, and `silent` client connections
    had sent no request."""

    cut: int = 0
    silent: int = 0


class ManagedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that Conductor writes: the wanted text, and the present one (None: absent)."""

    path: Path
    wanted: str
    present: str | None


class TrafficUnavailable(ConductorError):  # noqa: N818 (a state that `install` accepts)
    """The traffic layer is not running."""


class TrafficRefused(ConductorError):  # noqa: N818 (the refusal of a configuration)
    """The traffic layer refuses its configuration."""


class Traffic(Protocol):
    """The traffic layer of this host."""

    def is_running(self) -> bool:
        """True when the traffic layer answers."""

    def check(self, routes: Collection[Route]) -> tuple[str, ...]:
        """Refuse, before anything is changed, what would make a switch to `routes` fail.

        Return a warning for each of their server names whose requests may not reach the service.
        """

    def serves(self, routes: Collection[Route]) -> bool:
        """True when exactly `routes` are in force."""

    def switch(self, routes: Collection[Route], record: Callable[[Cutover], None]) -> None:
        """Send new requests to `routes`, and verify this; raise when that fails. Do nothing when they are in force.

        `record` is called before anything changes, and again with what is left to drain once the switch is verified.
        """

    def undo(self, cutover: Cutover, services: Collection[str], record: Callable[[Cutover], None]) -> None:
        """Restore what was in force before the switch that recorded `cutover`, and verify it; raise when that fails.

        Only `services` are restored: others of the switch may have changed since. `record` is called as in `switch`, and
        an undo of what it recorded restores the same state.
        """

    def drain(
        self, cutover: Cutover, endpoints: Collection[str], seconds: float, progress: Callable[[str], None]
    ) -> Drained:
        """Wait until no request can reach, or is in, `endpoints` (`IP:PORT`) any more; at most `seconds`."""

    def serving(self, service: str) -> frozenset[str]:
        """Return the endpoints that requests for the service go to."""

    def known(self) -> frozenset[str]:
        """Return every endpoint that a request may still be sent to. None of these may be given to a new replica."""

    def load(self) -> None:
        """Load what is configured, if a process was killed before it loaded it."""

    def install(self, routes: Collection[Route], keep: Collection[str]) -> tuple[str, ...]:
        """Write `routes`, and remove the routes of services that are not in `keep` and not referred to.

        Return the names of what changed.
        """

    def files(self, routes: Collection[Route]) -> tuple[ManagedFile, ...]:
        """Return the files that a switch to `routes` would write."""

    def notices(self) -> tuple[str, ...]:
        """Return a notice for each setting that has no effect on this host."""

    def installed_files(self) -> tuple[ManagedFile, ...]:
        """Return the files that only `install` writes."""
