"""The leases that this process holds on shared objects: taken, renewed by a thread, and named by every write."""

import contextlib
import secrets
import threading
from collections.abc import Callable

import msgspec

from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.plan.lease import (
    LOCK,
    RENEWAL_SECONDS,
    WAITER,
    Lease,
    LeaseLostError,
    Values,
    Watch,
    lease_of,
    released,
    taken,
    written,
)
from conductor.state.fleet.objects import Objects, StoredObject


class Leases:
    """`like` is the lease of this process, of which each hold gets a token of its own. `recent` answers who holds a lease, to
    callers that do not take it.

    One lock protects the tokens and the watches; no call to the objects is made under it.
    """

    def __init__(
        self,
        objects: Objects,
        clock: Clock,
        like: Lease,
        *,
        in_background: bool = True,
        recent: Objects | None = None,
    ) -> None:
        self._objects = objects
        self._recent = recent or objects
        self._clock = clock
        self._like = like
        self._in_background = in_background
        self._lock = threading.Lock()
        self._tokens: dict[str, str] = {}
        self._watches: dict[str, Watch] = {}
        self._wanted_by_others: set[str] = set()
        self._renewer: threading.Thread | None = None

    def values(self, name: str) -> Values:
        """Return what an object holds; nothing when it does not exist."""
        found = self._objects.read(name)
        return found.values if found else {}

    def take(self, name: str) -> Watch | None:
        """Take the lease of an object if it is free, or has expired. Otherwise return what is known of the one in force."""
        mine = msgspec.structs.replace(self._like, token=secrets.token_hex(8), since=self._clock.now())
        while True:
            found = self._objects.read(name)
            lease = lease_of(found.values) if found else None
            if found is not None and lease is not None:
                watch = self._watch(name, lease)
                if watch.needs_write:
                    self._prove(name, found, watch)
                if not (watch.is_expired and watch.writable):
                    return watch
            values = taken(found.values if found else {}, mine)
            if self._objects.write(found, values) if found else self._objects.create(name, values):
                break
        with self._lock:
            self._tokens[name] = mine.token
            self._watches.pop(name, None)
            self._wanted_by_others.discard(name)
        self._start_renewer()
        return None

    def _prove(self, name: str, found: StoredObject, watch: Watch) -> None:
        """Write an object as it is, which shows that its holder can write, too."""
        if self._objects.write(found, found.values):
            with self._lock:
                self._watches[name] = watch.after_write()

    def _watch(self, name: str, lease: Lease) -> Watch:
        with self._lock:
            before, now = self._watches.get(name), self._clock.monotonic()
            watch = self._watches[name] = before.after(lease, now) if before else Watch(lease, now)
            return watch

    def current(self, name: str) -> Lease | None:
        """Return the lease of an object unless it has expired by what this process has seen."""
        found = self._recent.read(name)
        lease = lease_of(found.values) if found else None
        return lease if lease is not None and not self._watch(name, lease).is_expired else None

    def write(self, name: str, changed: Values) -> None:
        """Change the values of an object whose lease this process holds. Raise `LeaseLostError` when it holds it no more."""
        with self._lock:
            token = self._tokens.get(name, "")
        self._update(name, lambda values: written(values, token, changed))

    def verify(self) -> None:
        """Raise `LeaseLostError` when this process holds a lease no more that it took: whatever it was doing, another one does."""
        with self._lock:
            held = dict(self._tokens)
        for name, token in held.items():
            written(self.values(name), token, {})

    def request(self, name: str) -> None:
        """Ask the holder of an object's lease to yield it."""
        self._update(name, lambda values: {**values, WAITER: self._like.node} if LOCK in values else values)

    def is_requested(self, name: str) -> bool:
        """True when another process asked for this lease, by the last renewal."""
        with self._lock:
            return name in self._wanted_by_others

    def release(self, name: str) -> None:
        """Release a lease. When that fails, it expires."""
        with self._lock:
            token = self._tokens.pop(name, "")
        with contextlib.suppress(ConductorError):
            self._update(name, lambda values: released(values, token))

    def renew(self) -> None:
        """Renew all leases. One that cannot be written is renewed the next time; one that is lost stays lost."""
        with self._lock:
            held = tuple(self._tokens)
        for name in held:
            with contextlib.suppress(ConductorError):
                self._renew(name)

    def _renew(self, name: str) -> None:
        try:
            self.write(name, {})
        except LeaseLostError:
            return
        if WAITER in self.values(name):
            with self._lock:
                self._wanted_by_others.add(name)

    def _update(self, name: str, change: Callable[[Values], Values]) -> None:
        while True:
            found = self._objects.read(name)
            values = change(found.values if found else {})
            if found is None or values == found.values or self._objects.write(found, values):
                return

    def _start_renewer(self) -> None:
        with self._lock:
            if not self._in_background or (self._renewer and self._renewer.is_alive()):
                return
            self._renewer = threading.Thread(target=self._keep_renewing, daemon=True)
        self._renewer.start()

    def _keep_renewing(self) -> None:
        """End when no lease is held any more."""
        while True:
            self._clock.sleep(RENEWAL_SECONDS)
            with self._lock:
                if not self._tokens:
                    self._renewer = None
                    return
            self.renew()
