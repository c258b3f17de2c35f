"""The lock of one object that the managers of a fleet share: a lease that its holder renews (pure).

No time is compared between hosts. A manager takes the lease of another one only after its own successful reads have shown the
same lease for `LEASE_SECONDS`. While nothing can be read, nothing can be written either, so that time does not count. A new leader
can be read for some seconds before anything can be written, so a write of the manager itself must have succeeded meanwhile, with
enough time after it for the holder's next renewal.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from conductor.errors import ConductorError, LockHolder
from conductor.json_text import decode

LEASE_SECONDS = 5.0
RENEWAL_SECONDS = 1.0  # between two renewals
AFTER_WRITE_SECONDS = 3.5  # of these, after the write: a renewal that is not answered is repeated after 3 s
LONGEST_STEP_SECONDS = 1.0  # that counts between two reads: of a longer gap it is not known what could be read
LOCK: Final = "lock"
WAITER: Final = "waiter"
Values = Mapping[str, str]  # what an object holds, each a text by its name


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """One hold of a lock by a process. `token` is unique, and `beat` counts the writes of the holder, also the renewals."""

    token: str
    node: str
    pid: int
    command: str
    since: str
    yields: bool = False
    beat: int = 0

    @property
    def holder(self) -> LockHolder:
        """The process."""
        return LockHolder(self.pid, self.command, self.since, self.yields, self.node)


class LeaseLostError(ConductorError):
    """The lease was taken by another manager, which did not see it renewed."""


class Watch(msgspec.Struct, frozen=True):
    """For how many `seconds` successful reads, the last one at `at`, have shown the same lease. `renewed`: an earlier read
    showed another one, so a process was there to write it. `writable`: this manager has written the object meanwhile."""

    lease: Lease
    at: float
    seconds: float = 0.0
    renewed: bool = False
    writable: bool = False

    def after(self, lease: Lease, at: float) -> "Watch":
        """Return the watch after one more read."""
        if lease != self.lease:
            return Watch(lease, at, renewed=True)
        seconds = self.seconds + min(at - self.at, LONGEST_STEP_SECONDS)
        return Watch(lease, at, seconds, self.renewed, self.writable)

    def after_write(self) -> "Watch":
        """Return the watch after a write of this manager."""
        seconds = min(self.seconds, LEASE_SECONDS - AFTER_WRITE_SECONDS)
        return Watch(self.lease, self.at, seconds, self.renewed, writable=True)

    @property
    def needs_write(self) -> bool:
        """True when the lease may be taken soon if a write succeeds now."""
        return not self.writable and self.seconds >= LEASE_SECONDS - AFTER_WRITE_SECONDS

    @property
    def is_expired(self) -> bool:
        """True when the lease seems to have no holder any more; it may be taken if this manager has also written the object."""
        return self.seconds >= LEASE_SECONDS


def lease_of(values: Values) -> Lease | None:
    """Return the lease of an object; None when it is not locked."""
    return decode(values[LOCK], Lease) if LOCK in values else None


def taken(values: Values, lease: Lease) -> Values:
    """Return the values once `lease` is theirs. Processes that wait for it compete again."""
    return {**_without(values, WAITER), LOCK: msgspec.json.encode(lease).decode()}


def written(values: Values, token: str, changed: Values) -> Values:
    """Return the values with the holder's changes, of which an empty text removes a value. Raise `LeaseLostError` for any other
    than the holder."""
    lease = lease_of(values)
    if lease is None or lease.token != token:
        by = f": {lease.holder}" if lease else ""
        raise LeaseLostError(f"cannot continue: another manager has taken the lock{by}")
    beat = msgspec.structs.replace(lease, beat=lease.beat + 1)
    return {
        name: text
        for name, text in {**values, **changed, LOCK: msgspec.json.encode(beat).decode()}.items()
        if text or name == LOCK
    }


def released(values: Values, token: str) -> Values:
    """Return the values without the lease. One that another process holds stays."""
    lease = lease_of(values)
    return _without(values, LOCK) if lease is not None and lease.token == token else values


def _without(values: Values, name: str) -> Values:
    return {one: text for one, text in values.items() if one != name}
