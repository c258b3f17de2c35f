"""The host's cron: the files that Conductor installs, and the verdict of `crontab -n`."""

import contextlib
import os
from pathlib import Path

from conductor.cron.installed import HEADER
from conductor.errors import ConductorError
from conductor.state import files

CHECK_SECONDS = 10.0


class Crontabs:
    """The files `conductor-ID` in cron's directory. Cron reads them when the directory changes."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def path(self, service: str) -> Path:
        """Return the path of a service's file. Cron skips names with a dot."""
        return self._directory / f"conductor-{service}"

    def check(self, service: str) -> None:
        """Raise if the service's file cannot be installed or removed. Called before anything is changed."""
        if not self._directory.is_dir():
            raise ConductorError(
                f"cannot install a crontab: {self._directory} is not a directory", "apt-get install cron"
            )
        if not os.access(self._directory, os.W_OK):
            raise ConductorError(
                f"cannot install a crontab: {self._directory} is not writable",
                "run as root, on a file system mounted read-write",
            )
        self._refuse_foreign(service)

    def read(self, service: str) -> str | None:
        """Return the installed text, or None. A file that Conductor did not write is not installed, and stays."""
        text = self._text(service)
        return text if text is not None and text.startswith(HEADER) else None

    def _refuse_foreign(self, service: str) -> None:
        if self._text(service) is not None and self.read(service) is None:
            path = self.path(service)
            raise ConductorError(
                f"cannot install a crontab: {path} exists, and Conductor did not write it", f"rename it, or rm {path}"
            )

    def _text(self, service: str) -> str | None:
        try:
            return self.path(service).read_text(errors="surrogateescape")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConductorError(f"cannot read {self.path(service)}: {error.strerror}") from error

    def texts(self) -> tuple[str, ...]:
        """Return the texts of all files in the directory, also of those that Conductor did not install."""
        found = []
        try:
            for name in files.names(self._directory, ""):
                path = self._directory / name
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile
                    if path.is_file():
                        found.append(path.read_text(errors="surrogateescape"))
        except OSError as error:
            raise ConductorError(f"cannot read {error.filename}: {error.strerror}") from error
        return tuple(found)

    def put(self, service: str, text: str | None) -> bool:
        """Install the text in one rename, mode 0600, or remove the file; True when that changed anything."""
        if self.read(service) == text:
            return False
        self._refuse_foreign(service)
        path = self.path(service)
        before = max(_seconds(path), _seconds(self._directory))
        if text is None:
            files.remove(path)
        else:
            files.write_bytes(path, text.encode(errors="surrogateescape"), 0o600)
        for changed in (path, self._directory):
            if 0 < _seconds(changed) <= before:
                with contextlib.suppress(OSError):  # it is installed; cron reads it a minute later
                    os.utime(changed, (before + 1, before + 1), follow_symlinks=False)
        return True


def _seconds(path: Path) -> int:
    """Return the modification time in whole seconds, as cron compares it.

    A table that replaces another within the second in which cron read that one is never read (measured on 3.0pl1-162): the
    old revision's jobs would keep running.
    """
    try:
        return int(path.stat().st_mtime)
    except OSError:
        return 0


def is_cron_running() -> bool:
    """True when a cron daemon runs in this process's own pid namespace."""
    own = Path("/proc/self/ns/pid").stat().st_ino
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            name = (process / "comm").read_text().strip()
            if name in {"cron", "crond"} and (process / "ns/pid").stat().st_ino == own:
                return True
    return False


def refused_by_cron(table: bytes) -> str | None:
    """Return the error of `crontab -n` for a user's crontab; None when it accepts it, or is not installed."""
    import shutil
    import subprocess

    program = shutil.which("crontab")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-n", "-"], input=table, capture_output=True, timeout=CHECK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None  # only a second opinion: Conductor has parsed the table itself
    return None if done.returncode == 0 else done.stderr.decode(errors="replace").strip()
