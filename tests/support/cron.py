"""Debian's cron: its parsing of a command, rewritten from its source, and the daemon itself on private files."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.daemon import SOCKET

STOP_SECONDS = 5.0


def as_cron(command: str) -> tuple[str, str]:
    """Return what cron 3.0pl1-162 passes to the shell, and as standard input (do_command.c, byte by byte)."""
    kept: list[str] = []
    escaped = False
    for position, letter in enumerate(command):
        kept.append(letter)
        if escaped:
            if letter in "%\\":
                kept[-2:] = [letter]
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == "%":
            return "".join(kept[:-1]), command[position + 1 :]
    return "".join(kept), ""


class PrivateCron:
    """`cron -f` in a mount namespace of its own, where `/etc/cron.d` is `tables` and `/run` and the spool are empty.

    `hidden` is a directory for the files that cron must not share with the machine. The rest of the machine and Docker's
    socket are visible to it.
    """

    def __init__(self, tables: Path, hidden: Path) -> None:
        self.tables = tables
        self.hidden = hidden
        self._socket = Path(SOCKET.removeprefix("unix://")).resolve()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "PrivateCron":
        for name in ("run", "spool"):
            (self.hidden / name).mkdir(parents=True, exist_ok=True)
        empty = self.hidden / "crontab"
        empty.touch()
        mounts = []
        if self._socket.is_relative_to("/run"):
            seen = self.hidden / self._socket.relative_to("/")
            seen.touch()
            mounts.append((self._socket, str(seen)))
        mounts += [
            (self.tables, "/etc/cron.d"),
            (self.hidden / "run", "/run"),
            (self.hidden / "spool", "/var/spool/cron"),
        ]
        if Path("/etc/crontab").exists():
            mounts.append((empty, "/etc/crontab"))
        script = "".join(f"mount --rbind '{here}' {there} && " for here, there in mounts)
        self._process = subprocess.Popen(
            [
                "setpriv",
                "--pdeathsig",
                "TERM",
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                f"{script}exec cron -f -L 1",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"},
            start_new_session=True,
        )
        return self

    def wait_for(self, done: Callable[[], bool], seconds: float) -> None:
        """Wait until `done` returns True or the time is over; raise `RuntimeError` when cron ends before."""
        until = time.monotonic() + seconds
        while not done():
            if self._process is None or self._process.poll() is not None:
                said = self._process.communicate()[1].decode() if self._process else ""
                raise RuntimeError(f"cron ended: {said}")
            if time.monotonic() > until:
                return
            time.sleep(0.2)

    def __exit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        # Jobs have sessions of their own, below children of cron.
        family = _descendants(process.pid)
        for pid in [process.pid, *family]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.communicate(timeout=STOP_SECONDS)


def checked_by_crontab(table: bytes, file: Path) -> tuple[bool, str]:
    """Return whether `crontab -n` accepts a user crontab, and its error output. Nothing is installed."""
    file.write_bytes(table)
    command = [shutil.which("crontab") or "/usr/bin/crontab", "-n", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    return done.returncode == 0, done.stderr


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found
