"""The door to the host's cron: the files that Conductor installs, and the opinion of `crontab -n`."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

from conductor.errors import ConductorError
from conductor.state import files

CHECK_SECONDS = 10.0


class Crontabs:
    """The files `conductor-ID` in cron's directory, by service. Cron reads them when the directory changes."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)

    def path(self, service: str) -> Path:
        """Where the service's file is: without a dot, which cron would pass over."""
        return self._directory / f"conductor-{service}"

    def check(self) -> None:
        """Refuse, before anything is begun, when no file could be put there, or taken away."""
        if not self._directory.is_dir():
            raise ConductorError(f"cannot install a crontab: {self._directory} is no directory", "install cron")
        if not os.access(self._directory, os.W_OK):
            raise ConductorError(f"cannot change a crontab: {self._directory} cannot be written", "mount it writable")

    def read(self, service: str) -> str | None:
        """The installed text, or None."""
        try:
            return self.path(service).read_text(errors="surrogateescape")
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConductorError(f"cannot read {self.path(service)}: {error.strerror}") from error

    def put(self, service: str, text: str | None) -> bool:
        """Install the text in one rename, for root's eyes only, or remove the file; whether that changed anything."""
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
                with contextlib.suppress(OSError):  # it is installed; cron may only notice later
                    os.utime(changed, (before + 1, before + 1))
        return True


def _seconds(path: Path) -> int:
    """When it was changed. cron compares that by the second: a table that is replaced within the second in which cron read
    its predecessor would never be read (measured on 3.0pl1-162), so that the old revision's jobs would run on."""
    try:
        return int(path.stat().st_mtime)
    except OSError:
        return 0


def refused_by_cron(table: bytes) -> str | None:
    """What `crontab -n` says against a user's crontab; None when it takes it, or is not on this host."""
    program = shutil.which("crontab")
    if program is None:
        return None
    try:
        done = subprocess.run(
            [program, "-n", "-"], input=table, capture_output=True, timeout=CHECK_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None  # its opinion is one more; the rules are our own
    return None if done.returncode == 0 else done.stderr.decode(errors="replace").strip()
