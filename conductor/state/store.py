"""Everything under the state directory, by name: wanted state, journals, addresses, history (DESIGN section 2)."""

import contextlib
import os
from pathlib import Path
from typing import Any

import msgspec

from conductor.errors import ConductorError
from conductor.plan.addresses import Addresses
from conductor.plan.jobs import JobResult
from conductor.plan.values import Journal, Wanted
from conductor.state import files

KEPT_LOGS = 100


class Store:
    """The state directory of one host."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _write(self, path: Path, value: object) -> None:
        files.make_directory(self.directory)
        files.make_directory(path.parent)
        files.write(path, value)

    def wanted(self, service: str) -> Wanted:
        """The wanted state; a service that was never deployed wants nothing."""
        return files.read(self.directory / "services" / f"{service}.json", Wanted) or Wanted(service=service)

    def stamp(self, service: str) -> object:
        """Another one whenever the wanted state was written again."""
        try:
            found = (self.directory / "services" / f"{service}.json").stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino

    def stamp_of_all(self) -> object:
        """Another one whenever any wanted state or journal was written or removed."""
        found = []
        for name in ("services", "journal"):
            with contextlib.suppress(OSError):
                found.append((self.directory / name).stat().st_mtime_ns)
        return tuple(found)

    def write_wanted(self, wanted: Wanted) -> None:
        """Commit: from the moment this returns, `wanted` is what should run."""
        self._write(self.directory / "services" / f"{wanted.service}.json", wanted)

    def services(self) -> tuple[str, ...]:
        """Every service that was ever deployed here."""
        return tuple(sorted(path.stem for path in (self.directory / "services").glob("[!.]*.json")))

    def under_way(self) -> tuple[str, ...]:
        """Every service with a journal: one that is deployed for the first time has nothing else yet."""
        return tuple(sorted(path.stem for path in (self.directory / "journal").glob("[!.]*.json")))

    def journal(self, service: str) -> Journal | None:
        """The change under way, if any."""
        return files.read(self._journal(service), Journal)

    def write_journal(self, journal: Journal) -> None:
        """Note what is about to happen, before it happens."""
        self._write(self._journal(journal.service), journal)

    def remove_journal(self, service: str) -> None:
        """The change is over, and what a process that died in it was writing is worth nothing."""
        files.remove_beside(self.directory / "services" / f"{service}.json")
        files.remove(self._journal(service))

    def _journal(self, service: str) -> Path:
        return self.directory / "journal" / f"{service}.json"

    def addresses(self) -> Addresses:
        """Addresses handed out and in quarantine; read and written under the `addresses` lock."""
        return files.read(self.directory / "addresses.json", Addresses) or Addresses()

    def write_addresses(self, addresses: Addresses) -> None:
        """Replace `addresses.json`."""
        self._write(self.directory / "addresses.json", addresses)

    def job(self, service: str, job: str) -> JobResult | None:
        """The last run of a cron job, if any."""
        return files.read(self.directory / "jobs" / service / f"{job}.json", JobResult)

    def write_job(self, result: JobResult) -> None:
        """Replace what is known of the job's last run."""
        files.make_directory(files.make_directory(self.directory) / "jobs")
        self._write(self.directory / "jobs" / result.service / f"{result.job}.json", result)

    def keep_log(self, container: str, lines: list[str]) -> None:
        """Keep what a container said; the oldest of more than `KEPT_LOGS` go. Others may do the same at this moment."""
        directory = files.make_directory(files.make_directory(self.directory) / "logs")
        files.write_bytes(directory / f"{container}.log", "\n".join([*lines, ""]).encode(errors="replace"))
        ages = []
        for path in directory.glob("[!.]*.log"):
            with contextlib.suppress(FileNotFoundError):
                ages.append((path.stat().st_mtime_ns, path))
        for _, path in sorted(ages)[:-KEPT_LOGS]:
            path.unlink(missing_ok=True)

    def record(self, entry: dict[str, Any]) -> None:
        """Append one line to the history, on disk when this returns. A torn last line is closed first."""
        path = files.make_directory(self.directory) / "history.jsonl"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                size = os.fstat(handle).st_size
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                os.write(handle, (b"\n" if torn else b"") + msgspec.json.encode(entry) + b"\n")
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise ConductorError(f"cannot write {path}: {error.strerror}") from error
