"""The state directory: wanted states, journals, addresses, pulled images, job results and kept logs."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from conductor.errors import ConductorError
from conductor.plan.addresses import Addresses
from conductor.plan.garbage import KeptFile, PulledImages
from conductor.plan.journal import Journal
from conductor.plan.log import KeptLog
from conductor.plan.release import Hold, Release, Wanted
from conductor.plan.tasks import JobResult
from conductor.state import files, kept_logs

KEY_BYTES = 32


def with_unknown_keys(wanted: Wanted, stored: Mapping[str, Any]) -> dict[str, Any]:
    """Return the stored form of `wanted`, with the keys of `stored` that a newer version wrote."""
    before = {one["id"]: one for one in (stored.get("release"), *stored.get("kept", ())) if one}
    holds = [one for one in (stored.get("stopped"), stored.get("paused"), stored.get("maintenance")) if one]

    def release(one: Release | None) -> dict[str, Any] | None:
        return files.with_unknown(one, before.get(one.id)) if one else None

    def hold(one: Hold | None) -> dict[str, Any] | None:
        same = (other for other in holds if one and (other["who"], other["since"]) == (one.who, one.since))
        return files.with_unknown(one, next(same, None)) if one else None

    return {
        **files.with_unknown(wanted, stored),
        "release": release(wanted.release),
        "kept": [release(one) for one in wanted.kept],
        "stopped": hold(wanted.stopped),
        "paused": hold(wanted.paused),
        "maintenance": hold(wanted.maintenance),
    }


def new_digest_key() -> bytes:
    """Return a random key of the digests in releases."""
    return os.urandom(KEY_BYTES)


class _Collected(msgspec.Struct, frozen=True, kw_only=True):
    at: str
    version: int = 1


class Store:
    """The state directory of one host."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _write(self, path: Path, value: object) -> None:
        files.write_in(self.directory, path, value)

    def wanted(self, service: str) -> Wanted:
        """Return the wanted state; an empty one for a service that has never been deployed."""
        path = self.directory / "services" / f"{service}.json"
        repair = (
            f"restore the file from a backup; without one, run rm {path}, then conductor service upgrade --id {service} "
            "--revision REV: its containers keep serving until the upgrade replaces them, but the releases kept for rollback, "
            "and any count, stop, pause or maintenance set by an operator, are lost"
        )
        return files.read_own(path, Wanted, service, repair=repair) or Wanted(service=service)

    def stamp(self, service: str) -> object:
        """Return a value that changes whenever the wanted state is written."""
        try:
            found = (self.directory / "services" / f"{service}.json").stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def stamp_of_all(self) -> object:
        """Return a value that changes whenever any wanted state or journal is written or removed."""
        found = []
        for name in ("services", "journal"):
            with contextlib.suppress(OSError):
                found.append((self.directory / name).stat().st_mtime_ns)
        return tuple(found)

    def write_wanted(self, wanted: Wanted) -> None:
        """Commit: once this returns, `wanted` is what should run.

        Keys that a newer version wrote stay, as long as what they belong to stays: the service, a release or a hold.
        """
        path = self.directory / "services" / f"{wanted.service}.json"
        stored: dict[str, Any] = {}
        with contextlib.suppress(ConductorError):  # a damaged state is replaced
            if files.read(path, Wanted) is not None:
                stored = files.read(path, dict[str, Any]) or {}
        self._write(path, with_unknown_keys(wanted, stored))

    def services(self) -> tuple[str, ...]:
        """Return every service with a wanted state: it was deployed, paused, or got a crontab on this host."""
        return files.names(self.directory / "services", ".json")

    def in_progress(self) -> tuple[str, ...]:
        """Return every service with a change in progress. A first deploy has a journal and no wanted state yet."""
        return files.names(self.directory / "journal", ".json")

    def journal(self, service: str) -> Journal | None:
        """Return the change in progress, if any."""
        path, start = self._journal(service), f"conductor service start --id {service}"
        repair = (
            f"run rm {path}, then {start} (or stop, if it must not run): the interrupted change is then neither finished "
            "nor rolled back, and its containers that do not belong to the live release are removed"
        )
        return files.read_own(path, Journal, service, repair=repair)

    def is_interrupted(self, service: str) -> bool:
        """True when a process that had the lock of a service, which is free now, has left something to recover."""
        return self.journal(service) is not None

    def write_journal(self, journal: Journal) -> None:
        """Write ahead what is about to happen."""
        self._write(self._journal(journal.service), journal)

    def remove_journal(self, service: str) -> None:
        """End the change in progress, and remove a file that a killed process left unfinished."""
        files.remove_temporary(self.directory / "services" / f"{service}.json")
        files.remove(self._journal(service))

    def _journal(self, service: str) -> Path:
        return self.directory / "journal" / f"{service}.json"

    def addresses(self) -> Addresses:
        """Return the reserved addresses; read and written under the `addresses` lock."""
        path = self.directory / "addresses.json"
        repair = (
            f"run rm {path} while no change is in progress: the next change recreates it, and skips addresses in use"
        )
        return files.read(path, Addresses, repair=repair) or Addresses()

    def write_addresses(self, addresses: Addresses) -> None:
        """Replace `addresses.json`; keys that a newer version wrote stay."""
        path = self.directory / "addresses.json"
        self._write(path, files.with_unknown(addresses, files.read(path, dict[str, Any])))

    def digest_key(self) -> bytes | None:
        """Return the key of the digests in releases; None when there is none that can be used."""
        try:
            key = (self.directory / "digest.key").read_bytes()
        except OSError:
            return None
        return key if len(key) == KEY_BYTES else None

    def make_digest_key(self) -> bytes:
        """Return the key, after creating it if absent. Called under the `addresses` lock."""
        key = self.digest_key()
        if key is None:
            key = new_digest_key()
            files.make_directory(self.directory)
            files.write_bytes(self.directory / "digest.key", key)
        return key

    def pulled(self, service: str) -> PulledImages:
        """Return the images that Conductor pulled for a service; read and written under the `IMAGES` lock."""
        path = self._pulled(service)
        repair = f"run rm {path}: the next upgrade recreates it, and gc never removes the images recorded in it"
        return files.read_own(path, PulledImages, service, repair=repair) or PulledImages(service=service)

    def write_pulled(self, pulled: PulledImages) -> None:
        """Replace the record of a service; remove an empty one."""
        if pulled.images:
            self._write(self._pulled(pulled.service), pulled)
        else:
            files.remove(self._pulled(pulled.service))

    def _pulled(self, service: str) -> Path:
        return self.directory / "images" / f"{service}.json"

    def job(self, service: str, job: str) -> JobResult | None:
        """Return the last result of a cron job, if any."""
        path = self.directory / "jobs" / service / f"{job}.json"
        return files.read_own(path, JobResult, service, repair=f"run rm {path}: the job's next run recreates it")

    def write_job(self, result: JobResult) -> None:
        """Replace the last result of a cron job."""
        files.make_directory(files.make_directory(self.directory) / "jobs")
        self._write(self.directory / "jobs" / result.service / f"{result.job}.json", result)

    def jobs(self, service: str) -> tuple[str, ...]:
        """Return the keys of all cron jobs with a last result."""
        return files.names(self.directory / "jobs" / service, ".json")

    def remove_job(self, service: str, job: str) -> None:
        """Remove the last result of a cron job."""
        files.remove(self.directory / "jobs" / service / f"{job}.json")

    def keep_log(self, service: str, log: KeptLog) -> None:
        """Store the log of a removed container, and delete the oldest logs of the service. Safe beside other processes."""
        logs = files.make_directory(files.make_directory(self.directory) / "logs")
        kept_logs.write(files.make_directory(logs / service), log)

    def kept_logs(self, service: str) -> tuple[str, ...]:
        """Return the names of the removed containers whose logs are kept."""
        return kept_logs.names(self.directory / "logs" / service)

    def kept_log(self, service: str, container: str, *, with_lines: bool = True) -> KeptLog | None:
        """Return the log of a removed container, or None when it is not retained. Its lines take time to read."""
        return kept_logs.read(self.directory / "logs" / service, container, with_lines=with_lines)

    def collected(self) -> str:
        """Return when `supervise` last removed garbage (RFC 3339, UTC), or an empty text."""
        path = self.directory / "gc.json"
        found = files.read(path, _Collected, repair=f"run rm {path}: supervise's next daily gc recreates it")
        return found.at if found else ""

    def write_collected(self, at: str) -> None:
        """Store when `supervise` last removed garbage."""
        self._write(self.directory / "gc.json", _Collected(at=at))

    def log_files(self) -> tuple[KeptFile, ...]:
        """Return the kept logs of all services, and the bug reports, which belong to no service."""
        found = []
        for path in (*(self.directory / "logs").glob("*/[!.]*.log"), *(self.directory / "logs").glob("*.txt")):
            with contextlib.suppress(OSError):
                status, service = path.stat(), path.parent.name if path.suffix == ".log" else ""
                found.append(KeptFile(service=service, name=path.name, modified=status.st_mtime, bytes=status.st_size))
        return tuple(found)

    def remove_log(self, service: str, name: str) -> None:
        """Remove a kept log, or a bug report."""
        path = self.directory / "logs" / service / name
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ConductorError(f"cannot remove {path}: {error.strerror}") from error

    def known_services(self) -> tuple[str, ...]:
        """Return every service of which anything is stored."""
        patterns = ("services/[!.]*.json", "journal/[!.]*.json", "images/[!.]*.json", "jobs/[!.]*")
        return tuple(sorted({path.stem for pattern in patterns for path in self.directory.glob(pattern)}))
