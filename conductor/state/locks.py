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
SUPERVISE = "supervise"  # the command of the one holder that lets go when it is asked to
YIELDS_SECONDS = 60.0  # it does so between two steps; no step that cannot be left takes longer
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
        """Hold lock `name`; `BusyError` naming the holder when it is not free within `wait_seconds`.

        `supervise` lets go of a lock that somebody waits for, so it is waited for in any case.
        """
        handle = self._open(name)
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

    def _open(self, name: str) -> int:
        make_directory(self._directory)
        path = self._directory / f"{name}.lock"
        try:
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConductorError(f"cannot lock {name}: {path}: {error.strerror}") from error

    def _acquire(self, handle: int, name: str, wait_seconds: float) -> None:
        if _free(handle):
            return
        began = self._clock.monotonic()
        with self._waiting(name):
            while not _free(handle):
                waited = self._clock.monotonic() - began
                holder = self._holder(handle)
                least = YIELDS_SECONDS if f"({SUPERVISE})" in holder else GLANCE_SECONDS
                if waited >= max(wait_seconds, least if self._command != SUPERVISE else GLANCE_SECONDS):
                    raise BusyError(f"cannot lock {name}: {holder}", "wait for it with --wait 5m, or try again later")
                self._clock.wait(POLL_SECONDS if waited >= GLANCE_SECONDS else GLANCE_POLL_SECONDS)

    @contextlib.contextmanager
    def _waiting(self, name: str) -> Iterator[None]:
        """Shown by a lock of its own, shared by all who wait."""
        handle = self._open(f"{name}.waiting")
        try:
            if self._command != SUPERVISE:
                fcntl.flock(handle, fcntl.LOCK_SH)
            yield
        finally:
            os.close(handle)

    def wanted(self, name: str) -> bool:
        """Whether somebody waits for lock `name`."""
        handle = self._open(f"{name}.waiting")
        try:
            return not _free(handle)
        finally:
            os.close(handle)

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


def _free(handle: int) -> bool:
    """Take the lock if it is free."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
