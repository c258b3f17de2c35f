"""A pseudo terminal whose session belongs to a shell that runs one command, as for a person who is logged in."""

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.host import TestHost

# As a login shell, it owns the terminal after the command has ended. It writes the command's exit code to a file.
SHELL = (
    'trap : INT HUP TERM; sh -c \'echo $$ >"$0/pid"; exec "$@"\' "$@"; echo $? >"$1/code"; while :; do sleep 60; done'
)


class Terminal:
    """`with Terminal(host, "run", …) as terminal`: `send` types keys, `shown` is all output so far."""

    def __init__(self, host: TestHost, *words: str, size: tuple[int, int] = (31, 97)) -> None:
        self._directory = host.directory / f"terminal-{os.urandom(3).hex()}"
        self._directory.mkdir()
        self.master, slave = pty.openpty()
        self.resize(*size)
        self.before = self.settings()
        self.shown = b""
        argv = [
            "setsid",
            "--ctty",
            "sh",
            "-c",
            SHELL,
            "sh",
            str(self._directory),
            sys.executable,
            "-m",
            "conductor",
            *words,
        ]
        self._shell = subprocess.Popen(
            argv,
            env=host.environment({"TERM": "xterm"}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError, ValueError):
            if not (self._directory / "code").exists():
                os.kill(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.wait()
        self.vanish()

    def send(self, keys: bytes) -> None:
        """Type keys."""
        os.write(self.master, keys)

    def until(self, text: bytes, timeout: float = 15) -> bytes:
        """Wait until this text was printed; return the output up to its end."""
        self._wait(lambda: text in self.shown, f"{text!r}", timeout)
        return self.shown[: self.shown.index(text) + len(text)]

    def resize(self, rows: int, columns: int) -> None:
        """Change the window's size: the kernel sends SIGWINCH to the foreground processes."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def settings(self) -> list[Any]:
        """Return the terminal's settings, which are the same at both ends."""
        return termios.tcgetattr(self.master)

    @property
    def pid(self) -> int:
        """The process id of conductor."""
        return int((self._directory / "pid").read_text())

    def raw(self) -> bool:
        """Return whether keys go to the task as they are typed."""
        return not self.settings()[3] & termios.ICANON

    def signal(self, number: int) -> None:
        """Send a signal to conductor alone."""
        os.kill(self.pid, number)

    def code(self, timeout: float = 20) -> int:
        """Return the exit code as the shell sees it: 128 plus the number of a signal that killed conductor."""
        path = self._directory / "code"
        self._wait(lambda: path.exists() and path.read_text().endswith("\n"), "its end", timeout)
        return int(path.read_text())

    def vanish(self) -> None:
        """Close the terminal, as a closed window or a lost connection does."""
        if self.master >= 0:
            master, self.master = self.master, -1
            self._reader.join(5)
            os.close(master)

    def _wait(self, condition: Callable[[], bool], what: str, timeout: float) -> None:
        until = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < until, f"waited {timeout} s for {what}; the screen: {self.shown!r}"
            time.sleep(0.01)

    def _read(self) -> None:
        while (master := self.master) >= 0:
            if select.select([master], [], [], 0.02)[0]:
                try:
                    self.shown += os.read(master, 65536)
                except OSError:
                    return  # the other end is closed


def children(directory: Path, pid: int) -> list[int]:
    """Return the processes whose parent is `pid`."""
    found = []
    for entry in directory.glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(entry.name))
    return found
