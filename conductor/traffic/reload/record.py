"""What nginx serves, as Conductor's own record: endpoints per service, and endpoints that old workers still know.

Nothing is read back from nginx's files. A file on disk is only compared with the digest of what was written.
"""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from conductor.errors import ConductorError
from conductor.state import files
from conductor.traffic.processes import Worker, alive


class Version(msgspec.Struct, frozen=True):
    """One version of a service's file: its digest (None: no file) and the endpoints it sends requests to."""

    digest: str | None
    endpoints: tuple[str, ...]


class Quarantined(msgspec.Struct, frozen=True):
    """Endpoints that left the configuration, and the workers that may still send requests to them."""

    endpoints: tuple[str, ...]
    workers: tuple[Worker, ...]


class TrafficRecord(msgspec.Struct, frozen=True, kw_only=True):
    """`traffic.json`. A service has one version; during a switch, or after a killed one, two: the old and the new.

    `apart` are old workers that do not follow a change of peers without a reload.
    """

    version: int = 1
    routes: dict[str, tuple[Version, ...]] = {}
    quarantine: tuple[Quarantined, ...] = ()
    apart: tuple[Worker, ...] = ()


class Record:
    """The record of one state directory. Written under the nginx lock, read by anyone."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "traffic.json"
        self._cached: tuple[object, TrafficRecord] = (None, TrafficRecord())

    def endpoints(self, service: str, text: str | None) -> tuple[str, ...]:
        """Return the endpoints of the version that is on disk as `text`; none when `text` is of no known version."""
        found = (one.endpoints for one in self._read().routes.get(service, ()) if one.digest == digest(text))
        return next(found, ())

    def knows(self, service: str, text: str) -> bool:
        """False when Conductor has not written `text`, but another version of the service's file."""
        versions = self._read().routes.get(service, ())
        return not versions or any(one.digest == digest(text) for one in versions)

    def known(self) -> frozenset[str]:
        """Return the endpoints of all versions, and those of quarantined ones whose workers live."""
        record = self._read()
        configured = {e for versions in record.routes.values() for one in versions for e in one.endpoints}
        quarantined = {e for one in _living(record.quarantine) for e in one.endpoints}
        return frozenset(configured | quarantined)

    def begin(self, changes: Mapping[str, Version]) -> None:
        """Write ahead: each service is about to get another version. Until `complete`, all of its versions are known."""
        record = self._read()
        routes = {**record.routes}
        for service, version in changes.items():
            before = record.routes.get(service, ())
            if version not in before:
                routes[service] = (*(one for one in before if one.digest != version.digest), version)
        self._write(msgspec.structs.replace(record, routes=routes))

    def complete(self, changes: Mapping[str, Version], workers: Collection[Worker]) -> None:
        """Record that the versions of `begin` are in force, and that `workers` still know the ones before."""
        record = self._read()
        current = {service: (version,) for service, version in changes.items() if version.digest is not None}
        others = {service: versions for service, versions in record.routes.items() if service not in changes}
        before = {e for service in changes for one in record.routes.get(service, ()) for e in one.endpoints}
        leaving = before.difference(*(version.endpoints for version in changes.values()))
        quarantine = record.quarantine
        if leaving:
            quarantine += (Quarantined(tuple(sorted(leaving)), tuple(sorted(workers))),)
        routes = {**others, **current}
        self._write(msgspec.structs.replace(record, routes=routes, quarantine=_living(quarantine)))

    def apart(self) -> frozenset[Worker]:
        """Return the living workers that do not follow a change of peers."""
        return frozenset(filter(alive, self._read().apart))

    def add_apart(self, workers: Collection[Worker]) -> None:
        """Record workers that do not follow a change of peers."""
        self._write(msgspec.structs.replace(self._read(), apart=tuple(sorted(self.apart().union(workers)))))

    def _read(self) -> TrafficRecord:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return TrafficRecord()
        except OSError as error:
            raise ConductorError(f"cannot read {self._path}: {error.strerror}") from error
        stamp = (found.st_mtime_ns, found.st_ino)
        if self._cached[0] != stamp:
            repair = f"rm {self._path} && conductor nginx install"
            self._cached = (stamp, files.read(self._path, TrafficRecord, repair=repair) or TrafficRecord())
        return self._cached[1]

    def _write(self, record: TrafficRecord) -> None:
        if record != self._read():
            files.make_directory(self._path.parent)
            files.write(self._path, record)


def _living(quarantine: tuple[Quarantined, ...]) -> tuple[Quarantined, ...]:
    return tuple(one for one in quarantine if any(alive(worker) for worker in one.workers))


def digest(text: str | None) -> str | None:
    """Return the SHA-256 of a file's text; None when there is no file."""
    return None if text is None else hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
