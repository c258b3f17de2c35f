"""The state directory: wanted states, journals, addresses, job results and kept logs."""

import contextlib
from pathlib import Path

from conductor.plan.addresses import Addresses
from conductor.plan.journal import Journal
from conductor.plan.release import Wanted
from conductor.plan.tasks import JobResult
from conductor.state import files

KEPT_LOGS = 50  # of each service


class Store:
    """The state directory of one host."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def _write(self, path: Path, value: object) -> None:
        files.make_directory(self.directory)
        files.make_directory(path.parent)
        files.write(path, value)

    def wanted(self, service: str) -> Wanted:
        """Return the wanted state; an empty one for a service that has never been deployed."""
        return files.read(self.directory / "services" / f"{service}.json", Wanted) or Wanted(service=service)

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
        """Commit: once this returns, `wanted` is what should run."""
        self._write(self.directory / "services" / f"{wanted.service}.json", wanted)

    def services(self) -> tuple[str, ...]:
        """Return every service that has ever been deployed on this host."""
        return tuple(sorted(path.stem for path in (self.directory / "services").glob("[!.]*.json")))

    def in_progress(self) -> tuple[str, ...]:
        """Return every service with a change in progress. A first deploy has a journal and no wanted state yet."""
        return tuple(sorted(path.stem for path in (self.directory / "journal").glob("[!.]*.json")))

    def journal(self, service: str) -> Journal | None:
        """Return the change in progress, if any."""
        return files.read(self._journal(service), Journal)

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
        return files.read(self.directory / "addresses.json", Addresses) or Addresses()

    def write_addresses(self, addresses: Addresses) -> None:
        """Replace `addresses.json`."""
        self._write(self.directory / "addresses.json", addresses)

    def job(self, service: str, job: str) -> JobResult | None:
        """Return the last result of a cron job, if any."""
        return files.read(self.directory / "jobs" / service / f"{job}.json", JobResult)

    def write_job(self, result: JobResult) -> None:
        """Replace the last result of a cron job."""
        files.make_directory(files.make_directory(self.directory) / "jobs")
        self._write(self.directory / "jobs" / result.service / f"{result.job}.json", result)

    def jobs(self, service: str) -> tuple[str, ...]:
        """Return the keys of all cron jobs with a last result."""
        return tuple(sorted(path.stem for path in (self.directory / "jobs" / service).glob("[!.]*.json")))

    def remove_job(self, service: str, job: str) -> None:
        """Remove the last result of a cron job."""
        files.remove(self.directory / "jobs" / service / f"{job}.json")

    def keep_log(self, service: str, container: str, lines: list[str]) -> None:
        """Store the log of a removed container, and delete the service's oldest of more than `KEPT_LOGS`.

        Safe beside other processes.
        """
        logs = files.make_directory(files.make_directory(self.directory) / "logs")
        directory = files.make_directory(logs / service)
        files.write_bytes(directory / f"{container}.log", "\n".join([*lines, ""]).encode(errors="replace"))
        ages = []
        for path in directory.glob("[!.]*.log"):
            with contextlib.suppress(FileNotFoundError):
                ages.append((path.stat().st_mtime_ns, path))
        for _, path in sorted(ages)[:-KEPT_LOGS]:
            path.unlink(missing_ok=True)
