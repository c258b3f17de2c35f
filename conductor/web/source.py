"""Reads what `supervise` published. Whatever is in the file, a reader gets a `View`, which says what is wrong."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import msgspec

from conductor.clock import Clock
from conductor.json_text import decode
from conductor.snapshot.model import HostSnapshot
from conductor.snapshot.published import STALE_SECONDS, VERSION, Published, PublishedLog, log_path

MOST_BYTES = 64 * 2**20  # a larger file is none of `supervise`
START_SUPERVISE = "systemctl start conductor-supervise"
RESTART_BOTH = "systemctl restart conductor-supervise conductor-web"


class Condition(StrEnum):
    """Whether there is a document, and whether `supervise` is running."""

    LIVE = "live"
    NOT_RUNNING = "not-running"  # `supervise` ended, or has not published for `STALE_SECONDS`
    MISSING = "missing"
    UNREADABLE = "unreadable"
    DAMAGED = "damaged"
    OTHER_VERSION = "other-version"


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What the page shows at one time. `since` is when `supervise` last published (RFC 3339, UTC; empty if it never did),
    `stamp` changes whenever anything else does. Without a `document`, `problem` and `fix` say why, and what to run."""

    condition: Condition
    document: Published | None = None
    problem: str = ""
    fix: str = ""
    since: str = ""
    stamp: str = ""

    @property
    def status(self) -> HostSnapshot | None:
        """The document of `service status`."""
        if self.document is None:
            return None
        return msgspec.structs.replace(self.document.status, supervise_running=self.condition is Condition.LIVE)


class Source:
    """Reads the document when the file has changed. `read_bytes` returns the content of a file."""

    def __init__(self, path: Path, clock: Clock, read_bytes: Callable[[Path], bytes] = Path.read_bytes) -> None:
        self._path = path
        self._clock = clock
        self._read_bytes = read_bytes
        self._stamp: tuple[int, int, int] | None = None
        self._read: View = View(condition=Condition.MISSING)

    def view(self) -> View:
        """Return what the page shows now."""
        try:
            found = self._path.stat()
        except OSError as error:
            self._stamp = None
            return self._absent(error)
        stamp = (found.st_mtime_ns, found.st_ino, found.st_size)
        if stamp != self._stamp:
            self._read = self._decoded(found.st_size)
            self._stamp = stamp
        view, written = self._read, found.st_mtime
        document = view.document
        late = self._clock.wall() - written > STALE_SECONDS
        since = (document.ended if document is not None else "") or self._clock.at(written)
        if document is not None and (late or document.ended):
            view = msgspec.structs.replace(
                view, condition=Condition.NOT_RUNNING, problem=f"supervise has not been running since {since}",
                fix=START_SUPERVISE,
            )  # fmt: skip
        return msgspec.structs.replace(view, since=since, stamp=f"{view.condition}-{stamp[0]:x}-{stamp[1]:x}")

    def log(self, service: str) -> PublishedLog | None:
        """Return the latest log lines of a service of the document; None if they are not published."""
        try:
            data = self._read_bytes(log_path(self._path, service))
            if decode(data, _Version).version != VERSION:
                return None
            return decode(data, PublishedLog)
        except OSError:
            return None
        except ValueError:  # damaged
            return PublishedLog(complete=False, lines=())

    def _absent(self, error: OSError) -> View:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return View(
                condition=Condition.MISSING, problem="supervise has not published the state of the host since boot",
                fix=RESTART_BOTH, stamp=Condition.MISSING,
            )  # fmt: skip
        return self._unreadable(error)

    def _unreadable(self, error: OSError) -> View:
        return View(
            condition=Condition.UNREADABLE, problem=f"{self._path} cannot be read: {error.strerror}",
            fix="sudo conductor web", stamp=Condition.UNREADABLE,
        )  # fmt: skip

    def _decoded(self, size: int) -> View:
        try:
            if size > MOST_BYTES:
                raise ValueError(f"it has {size} bytes")  # noqa: TRY301 (reported as any other damage)
            data = self._read_bytes(self._path)
            version = decode(data, _Version).version
            if version == VERSION:
                return View(condition=Condition.LIVE, document=decode(data, Published))
        except OSError as error:
            return self._unreadable(error)
        except ValueError as error:  # a msgspec.DecodeError is a ValueError
            return View(
                condition=Condition.DAMAGED, problem=f"{self._path} is damaged: {error}",
                fix=RESTART_BOTH,
            )  # fmt: skip
        return View(
            condition=Condition.OTHER_VERSION,
            problem=f"{self._path} was written by another version of Conductor: its format is {version}, but this page reads {VERSION}",
            fix=RESTART_BOTH,
        )


class _Version(msgspec.Struct, frozen=True):
    version: int
