"""The state of a manager: what concerns the services of the fleet is in shared objects, all else in files of this host.

The object of a service holds its wanted state, its journal and its lock; that of `addresses` the reserved ports. Each is
written under its lock only.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from conductor.plan.addresses import Addresses
from conductor.plan.journal import Journal
from conductor.plan.lease import LOCK
from conductor.plan.release import Wanted
from conductor.state import files
from conductor.state.fleet.leases import Leases
from conductor.state.fleet.locks import is_shared
from conductor.state.fleet.objects import Objects
from conductor.state.store import Store, new_digest_key, with_unknown_keys

T = TypeVar("T")
WANTED: Final = "wanted"
JOURNAL: Final = "journal"
ADDRESSES: Final = "addresses"  # an object, its lock, and its value
DIGEST_KEY: Final = "digest-key"
_TEXTS = {WANTED: "the desired state of {}", JOURNAL: "the journal of {}", ADDRESSES: "the reserved ports"}
REPAIR = "a newer version of Conductor may have written it: upgrade Conductor on this manager"


class FleetStore(Store):
    """Implements `Store`."""

    def __init__(self, directory: Path, objects: Objects, leases: Leases) -> None:
        super().__init__(directory)
        self._objects = objects
        self._leases = leases

    def wanted(self, service: str) -> Wanted:
        """One read."""
        return self._shared(service, WANTED, Wanted) or Wanted(service=service)

    def stamp(self, service: str) -> object:
        """The text itself."""
        return self._values(service).get(WANTED)

    def stamp_of_all(self) -> object:
        """The texts themselves, and whether a process has the lock: one that was killed releases nothing."""
        return {
            name: (values.get(WANTED), values.get(JOURNAL), self._leases.current(name) is not None)
            for name, values in self._services().items()
        }

    def write_wanted(self, wanted: Wanted) -> None:
        """Keep unknown keys, as on a single host."""
        stored = self._shared(wanted.service, WANTED, dict[str, Any]) or {}
        self._share(wanted.service, WANTED, with_unknown_keys(wanted, stored))

    def services(self) -> tuple[str, ...]:
        """One read of all objects."""
        return tuple(name for name, values in self._services().items() if WANTED in values)

    def in_progress(self) -> tuple[str, ...]:
        """One read of all objects."""
        return tuple(name for name, values in self._services().items() if JOURNAL in values)

    def known_services(self) -> tuple[str, ...]:
        """Those of the fleet, and those of which this host has files."""
        return tuple(sorted({*super().known_services(), *self._services()}))

    def journal(self, service: str) -> Journal | None:
        """One read."""
        return self._shared(service, JOURNAL, Journal)

    def is_interrupted(self, service: str) -> bool:
        """Also by the lock itself: every command would wait for it until it has expired."""
        values = self._values(service)
        return JOURNAL in values or LOCK in values

    def write_journal(self, journal: Journal) -> None:
        """One read and one write."""
        self._share(journal.service, JOURNAL, journal)

    def remove_journal(self, service: str) -> None:
        """One read and one write."""
        self._leases.write(service, {JOURNAL: ""})

    def addresses(self) -> Addresses:
        """One read."""
        return self._shared(ADDRESSES, ADDRESSES, Addresses) or Addresses()

    def write_addresses(self, addresses: Addresses) -> None:
        """Keep unknown keys, as on a single host."""
        stored = self._shared(ADDRESSES, ADDRESSES, dict[str, Any])
        self._share(ADDRESSES, ADDRESSES, files.with_unknown(addresses, stored))

    def digest_key(self) -> bytes | None:
        """The same on every manager, so that each finds the same changes of secrets and env files."""
        text = self._values(ADDRESSES).get(DIGEST_KEY)
        return bytes.fromhex(text) if text else None

    def make_digest_key(self) -> bytes:
        """As on a single host, under the `addresses` lock."""
        key = self.digest_key()
        if key is None:
            key = new_digest_key()
            self._leases.write(ADDRESSES, {DIGEST_KEY: key.hex()})
        return key

    def _services(self) -> Mapping[str, Mapping[str, str]]:
        found = {one.name: one.values for one in self._objects.read_all() if is_shared(one.name)}
        return {name: values for name, values in found.items() if name != ADDRESSES}

    def _values(self, name: str) -> Mapping[str, str]:
        found = self._objects.read(name)
        return found.values if found else {}

    def _shared(self, name: str, value: str, shape: type[T]) -> T | None:
        text = self._values(name).get(value)
        return files.decode(text.encode(), shape, _TEXTS[value].format(name), REPAIR) if text else None

    def _share(self, name: str, value: str, content: object) -> None:
        self._leases.write(name, {value: msgspec.json.encode(content).decode()})
