"""The host's cron: the files that Conductor installs, and the verdict of `crontab -n`."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

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

    def check(self) -> None:
        """Raise if files cannot be installed in the directory or removed from it. Called before anything is changed."""
        if not self._directory.is_dir():
            raise ConductorError(
                f"cannot install a crontab: {self._directory} is not a directory", "apt-get install cron"
            )
        if not os.access(self._directory, os.W_OK):
            raise ConductorError(
                f"cannot install a crontab: {self._directory} is not writable",
                "run as root, on a file system mounted read-write",
            )

    def read(self, service: str) -> str | None:
        """Return the installed text, or None."""
        try:
            return self.path(service).read_text(errors="surrogateescape")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConductorError(f"cannot read {self.path(service)}: {error.strerror}") from error

    def put(self, service: str, text: str | None) -> bool:
        """Install the text in one rename, mode 0600, or remove the file; True when that changed anything."""
        if self.read(service) == text:
            return False
        path = self.path(service)
        before = max(_seconds(path), _seconds(self._directory))
        if text is None:
            files.remove(path)
        else:
            files.write_bytes(path, text.encode(errors="surrogateescape"), 0o600)
        for changed in (path, self._directory):
            if 0 < _seconds(changed) <= before:
                with contextlib.suppress(OSError):  # it is installed; cron reads it a minute later
                    os.utime(changed, (before + 1, before + 1))
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


def refused_by_cron(table: bytes) -> str | None:
    """Return the error of `crontab -n` for a user's crontab; None when it accepts it, or is not installed."""
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
