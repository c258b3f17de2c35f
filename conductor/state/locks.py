"""Locks by `flock`: freed by the kernel when their holder dies, so none is ever left behind.

Order, so that nobody waits in a circle: service ids (sorted), `addresses`, `nginx`.
"""

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path

from conductor.clock import Clock
from conductor.errors import BusyError, ConductorError
from conductor.state.files import make_directory

POLL_SECONDS = 0.05  # how often a waiter looks again
GLANCE_SECONDS, GLANCE_POLL_SECONDS = 0.1, 0.002  # who only asks whether it is held, holds it himself for microseconds


class Locks:
    """The locks of one runtime directory. `command` is told to others who find a lock held."""

    def __init__(self, directory: Path, command: str, clock: Clock) -> None:
        self._directory = directory
        self._command = command
        self._clock = clock
        self.held: set[str] = set()

    @contextlib.contextmanager
    def hold(self, name: str, wait_seconds: float = 0.0) -> Iterator[None]:
        """Hold lock `name`; `BusyError` naming the holder when it is not free within `wait_seconds`."""
        make_directory(self._directory)
        path = self._directory / f"{name}.lock"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConductorError(f"cannot lock {name}: {path}: {error.strerror}") from error
        try:
            self._acquire(handle, name, wait_seconds)
            holder = {"pid": os.getpid(), "command": self._command, "since": self._clock.now()}
            with contextlib.suppress(OSError):  # a full disk: the lock itself is what counts
                os.ftruncate(handle, 0)
                os.pwrite(handle, json.dumps(holder).encode(), 0)
            self.held.add(name)
            yield
        finally:
            self.held.discard(name)
            os.close(handle)

    def _acquire(self, handle: int, name: str, wait_seconds: float) -> None:
        began = self._clock.monotonic()
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waited = self._clock.monotonic() - began
                if waited >= max(wait_seconds, GLANCE_SECONDS):
                    raise BusyError(
                        f"cannot lock {name}: {self._holder(handle)}", "wait for it with --wait 5m, or try again later"
                    ) from None
                self._clock.wait(POLL_SECONDS if waited >= GLANCE_SECONDS else GLANCE_POLL_SECONDS)
            else:
                return

    def holder(self, name: str) -> str | None:
        """Who holds lock `name` now, as a sentence's end; None when it is free."""
        try:
            handle = os.open(self._directory / f"{name}.lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._holder(handle)
        else:
            return None
        finally:
            os.close(handle)

    @staticmethod
    def _holder(handle: int) -> str:
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            held = json.loads(os.pread(handle, 4096, 0))
            if Path(f"/proc/{held['pid']}").exists():  # else a new holder has not said yet who it is
                return f"process {held['pid']} ({held['command']}) has held it since {held['since']}"
        return "another process holds it"
