"""The locks of a manager: those of services and addresses belong to the fleet, all others to this host."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.errors import BusyError, LockHolder
from conductor.state.fleet.leases import Leases
from conductor.state.locks import IMAGES, YIELD_SECONDS, Locks

POLL_SECONDS = 0.5  # between two reads of a lease


class FleetLocks(Locks):
    """Implements `Locks`. A lock that a killed process held is free once its lease has expired. `shared` returns whether a lock belongs
    to the fleet, by default those of services and addresses."""

    def __init__(
        self,
        directory: Path,
        command: str,
        clock: Clock,
        cancellation: Cancellation,
        leases: Leases,
        *,
        yields: bool = False,
        shared: Callable[[str], bool] | None = None,
    ) -> None:
        super().__init__(directory, command, clock, cancellation, yields=yields)
        self._leases = leases
        self._is_shared = shared or is_shared

    @contextlib.contextmanager
    def hold(self, name: str, wait_seconds: float = 0.0) -> Iterator[None]:
        """As on a single host. Whether the holder of a lease is there takes a few seconds to see."""
        if not self._is_shared(name):
            with super().hold(name, wait_seconds):
                yield
            return
        self._take(name, wait_seconds)
        self.held.add(name)
        try:
            yield
        finally:
            self.held.discard(name)
            self._leases.release(name)

    def _take(self, name: str, wait_seconds: float) -> None:
        began, requested = self._clock.monotonic(), False
        while (watch := self._leases.take(name)) is not None:
            waited, holder = self._clock.monotonic() - began, watch.lease.holder
            yields = holder.yields and not self._yields
            if watch.renewed and waited >= max(wait_seconds, YIELD_SECONDS if yields else 0.0):
                raise BusyError(name, holder)
            if not self._yields and not requested:
                self._leases.request(name)
                requested = True
            self._cancellation.wait(POLL_SECONDS)
        self._waited += self._clock.monotonic() - began

    def has_waiters(self, name: str) -> bool:
        """By the last renewal of the lease."""
        return self._leases.is_requested(name) if self._is_shared(name) else super().has_waiters(name)

    def is_held(self, name: str) -> bool:
        """A killed process counts until its lease has expired."""
        return self.holder(name) is not None if self._is_shared(name) else super().is_held(name)

    def holder(self, name: str) -> LockHolder | None:
        """A killed process counts until its lease has expired."""
        if not self._is_shared(name):
            return super().holder(name)
        lease = self._leases.current(name)
        return lease.holder if lease else None

    def remove(self, name: str) -> None:
        """The lock of a service is a part of its object."""
        if not self._is_shared(name):
            super().remove(name)


def is_shared(name: str) -> bool:
    """True for the id of a service, and for `addresses`. The names of all other locks have a dot, or are `nginx`."""
    return "." not in name and name != "nginx"


def is_of_job(name: str) -> bool:
    """True for the locks of a cron job's runs, of which there is one at a time on all managers."""
    return "." in name and not name.endswith(".result") and name != IMAGES
