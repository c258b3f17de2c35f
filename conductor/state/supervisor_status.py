"""What `supervise` thinks of each service, for `status` and for the `supervise` that comes after it."""

import contextlib
from pathlib import Path

import msgspec

from conductor.errors import ConductorError
from conductor.state import files


class ServiceNote(msgspec.Struct, frozen=True, kw_only=True):
    """What `supervise` thinks of a service now; `until` (wall time, UTC) when it will act next, if it waits. `last` is when
    it last acted (seconds since 1970) and `change` the latest commit, for the `supervise` that comes after this one."""

    why: str
    until: str = ""
    attempts: int = 0
    last: float | None = None
    change: str = ""

    def __str__(self) -> str:
        tried = f", tried {self.attempts} time{'s' * (self.attempts != 1)}" if self.attempts else ""
        return self.why + (f"; next at {self.until}" if self.until else "") + tried


class Notes(msgspec.Struct, frozen=True, kw_only=True):
    """`supervise.json` in the runtime directory: the pid tells whether it is still true."""

    pid: int
    since: str
    text: str
    version: int = 1
    problem: str = ""
    services: dict[str, ServiceNote] = {}


def notes_file(runtime_dir: str) -> Path:
    """Where it is."""
    return Path(runtime_dir) / "supervise.json"


def read_notes(runtime_dir: str) -> Notes | None:
    """What a running `supervise` has noted; None when none runs."""
    notes = files.read(notes_file(runtime_dir), Notes)
    return notes if notes is not None and Path(f"/proc/{notes.pid}").exists() else None


def former_notes(runtime_dir: str) -> dict[str, ServiceNote]:
    """What the `supervise` before this one has noted of each service; nothing when that cannot be read."""
    with contextlib.suppress(ConductorError):
        notes = files.read(notes_file(runtime_dir), Notes)
        return notes.services if notes is not None else {}
    return {}
