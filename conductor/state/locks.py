"""Locks by `flock`: the kernel releases them when their holder exits, so none is ever left behind.

Order, against deadlocks: service ids (sorted), `IMAGES`, `addresses`, `nginx`.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.errors import BusyError, ConductorError, LockHolder
from conductor.json_text import decode
from conductor.state.files import make_directory, open_own

# How long a command waits for each lock. For a service's lock, the command's --wait decides.
ADDRESSES_SECONDS = 180.0  # longer than the two calls to the daemon that its holder makes
NGINX_SECONDS = 120.0  # cutovers of other services take about a second each
IMAGES_SECONDS = 180.0  # its holder removes one image, in at most three calls to the daemon
RESULT_SECONDS = 10.0  # of a cron job's last result
POLL_SECONDS = 0.05  # between two attempts of a waiting command
YIELD_SECONDS = 60.0  # a holder that yields does so between two steps, and no step takes longer
# Shared by actions that have chosen an image and have not yet recorded the choice; held by a process that removes images.
IMAGES = "images.use"  # no service id contains a dot
# A call of `holder` or `is_held` takes the lock for microseconds, on a busy machine for longer, and without a name.
SHORT_WAIT_SECONDS, SHORT_POLL_SECONDS, UNNAMED_WAIT_SECONDS = 0.1, 0.002, 2.0


class Locks:
    """The locks of one runtime directory. `command` names the holder to others.

    With `yields`, this process releases a lock when `has_waiters` is True, and is itself never counted as a waiter.
    """

    def __init__(
        self, directory: Path, command: str, clock: Clock, cancellation: Cancellation, *, yields: bool = False
    ) -> None:
        self._directory = directory
        self._command = command
        self._clock = clock
        self._cancellation = cancellation
        self._yields = yields
        self.held: set[str] = set()
        self._waited = 0.0

    @contextlib.contextmanager
    def hold(self, name: str, wait_seconds: float = 0.0) -> Iterator[None]:
        """Hold lock `name`; `BusyError` when it is not free within `wait_seconds`.

        A command always waits up to `YIELD_SECONDS` for a holder that yields.
        """
        handle = self._open(name)
        try:
            self._acquire(handle, name, wait_seconds, fcntl.LOCK_EX)
            holder = LockHolder(os.getpid(), self._command, self._clock.now(), self._yields)
            name_text = msgspec.json.encode(holder._asdict())
        except BaseException:
            os.close(handle)
            raise
        try:
            with contextlib.suppress(OSError):  # a full disk: the lock itself is held
                os.ftruncate(handle, 0)
                os.pwrite(handle, name_text, 0)
            self.held.add(name)
            yield
        finally:
            self.held.discard(name)
            with contextlib.suppress(OSError):
                if os.pread(handle, len(name_text) + 1, 0) == name_text:  # the output of no other program
                    os.ftruncate(handle, 0)
            os.close(handle)

    @contextlib.contextmanager
    def share(self, name: str, wait_seconds: float = 0.0) -> Iterator[None]:
        """Share lock `name` with others that share it, while no process holds it; `BusyError` as in `hold`."""
        handle = self._open(name)
        try:
            self._acquire(handle, name, wait_seconds, fcntl.LOCK_SH)
            yield
        finally:
            os.close(handle)

    def _open(self, name: str) -> int:
        make_directory(self._directory)
        path = self._directory / f"{name}.lock"
        try:
            return open_own(path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            raise ConductorError(f"cannot lock {_text(name)}: {path}: {error.strerror}") from error

    def _acquire(self, handle: int, name: str, wait_seconds: float, mode: int) -> None:
        if _take(handle, mode):
            return
        began = self._clock.monotonic()
        with self._registered_as_waiter(name):
            while not _take(handle, mode):
                waited = self._clock.monotonic() - began
                holder = _holder(handle)
                least = UNNAMED_WAIT_SECONDS if holder is None else SHORT_WAIT_SECONDS
                if holder and holder.yields and not self._yields:
                    least = YIELD_SECONDS
                if waited >= max(wait_seconds, least):
                    raise BusyError(_text(name), holder)
                self._cancellation.wait(POLL_SECONDS if waited >= SHORT_WAIT_SECONDS else SHORT_POLL_SECONDS)
        self._waited += self._clock.monotonic() - began

    @property
    def waited(self) -> float:
        """How many seconds were spent waiting for locks since the last call of `take_waited`."""
        return self._waited

    def take_waited(self) -> float:
        """Return how many seconds were spent waiting for locks since the last call."""
        waited, self._waited = self._waited, 0.0
        return waited

    @contextlib.contextmanager
    def _registered_as_waiter(self, name: str) -> Iterator[None]:
        """Hold a second, shared lock while waiting: `has_waiters` finds it."""
        handle = self._open(f"{name}.waiting")
        try:
            if not self._yields:
                fcntl.flock(handle, fcntl.LOCK_SH)
            yield
        finally:
            os.close(handle)

    def has_waiters(self, name: str) -> bool:
        """True when a command waits for lock `name`."""
        handle = self._open(f"{name}.waiting")
        try:
            return not _take(handle)
        finally:
            os.close(handle)

    def remove(self, name: str) -> None:
        """Remove the files of lock `name`, unless it is held. Only for a name that no process begins to use any more."""
        for part in (name, f"{name}.waiting"):
            path = self._directory / f"{part}.lock"
            with contextlib.suppress(OSError):
                handle = open_own(path, os.O_RDWR)
                try:
                    if _take(handle):
                        path.unlink(missing_ok=True)
                finally:
                    os.close(handle)

    def is_held(self, name: str) -> bool:
        """True when a process holds lock `name` now."""
        return self._inspect(name)[0]

    def holder(self, name: str) -> LockHolder | None:
        """Return the process that holds lock `name` now; None when it is free, or its holder has not written its name."""
        return self._inspect(name)[1]

    def _inspect(self, name: str) -> tuple[bool, LockHolder | None]:
        path = self._directory / f"{name}.lock"
        try:
            handle = open_own(path, os.O_RDONLY)
        except FileNotFoundError:
            return False, None
        except OSError as error:
            raise ConductorError(f"cannot read the lock of {_text(name)}: {path}: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True, _holder(handle)
        else:
            return False, None
        finally:
            os.close(handle)


def _text(name: str) -> str:
    return "the images" if name == IMAGES else name


def _holder(handle: int) -> LockHolder | None:
    with contextlib.suppress(OSError, msgspec.DecodeError, TypeError):
        found = LockHolder(**decode(os.pread(handle, 4096, 0), dict))
        if Path(f"/proc/{found.pid}").exists():  # otherwise the file is that of an earlier holder
            return found
    return None


def _take(handle: int, mode: int = fcntl.LOCK_EX) -> bool:
    """Take the lock, for this process alone or shared, if it is free."""
    try:
        fcntl.flock(handle, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
