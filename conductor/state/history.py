"""The history: one line of JSON per action, in a file that is renamed when it is large, and then continues in a new one."""

import contextlib
import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

import msgspec

from conductor.errors import ConductorError
from conductor.json_text import decode
from conductor.plan.garbage import KeptFile
from conductor.plan.history import HistoryEntry
from conductor.state import files

CURRENT = "history.jsonl"
MOST_BYTES = 8 * 2**20  # that `latest` reads: as many as a file has when it is rotated
BLOCK_BYTES = 65536
ROTATED = f"history.{'[0-9]' * 6}.jsonl"  # numbered, oldest first


class HistoryWriter(Protocol):
    """Takes the entries of the history."""

    def append(self, entry: HistoryEntry) -> None:
        """Write one entry; it is on disk when this returns."""


class History:
    """The history of one state directory. An entry that is appended during a rotation gets into one of the two files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def entries(self) -> Iterator[HistoryEntry]:
        """Yield the entries of all files, oldest first."""
        try:
            yield from read(self._directory)
        except OSError as error:
            raise ConductorError(f"cannot read {error.filename}: {error.strerror}") from error

    def append(self, entry: HistoryEntry) -> None:
        """Append one line. A last line that a killed writer left incomplete is ended first."""
        path = files.make_directory(self._directory) / CURRENT
        try:
            handle = files.open_own(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
            try:
                size = os.fstat(handle).st_size
                torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
                data = (b"\n" if torn else b"") + msgspec.json.encode(entry) + b"\n"
                while data:  # a write may be short, for example when a signal arrives
                    data = data[os.write(handle, data) :]
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise ConductorError(f"cannot write {path}: {error.strerror}") from error


class Line(NamedTuple):
    """One line of the history: enough to decide whether to decode it."""

    at: str
    service: str
    action: str
    raw: bytes

    def entry(self) -> HistoryEntry | None:
        """Return the entry; None when a newer version of Conductor wrote it."""
        with contextlib.suppress(msgspec.DecodeError):
            return decode(self.raw, HistoryEntry)
        return None


class _Head(msgspec.Struct, frozen=True):
    at: str
    service: str
    action: str


def latest(directory: Path, most_bytes: int = MOST_BYTES) -> Iterator[Line]:
    """Yield the lines of the last `most_bytes` bytes, newest first. Lines that are no entry are left out."""
    with contextlib.ExitStack() as opened:
        try:
            streams = _open_all(directory, opened)
            for stream in reversed(streams):
                size = os.fstat(stream.fileno()).st_size
                for raw in _backwards(stream.fileno(), size, max(0, size - most_bytes)):
                    with contextlib.suppress(msgspec.DecodeError):
                        head = decode(raw, _Head)
                        yield Line(head.at, head.service, head.action, raw)
                most_bytes -= size
                if most_bytes <= 0:
                    return
        except OSError as error:
            raise ConductorError(f"cannot read {error.filename or directory}: {error.strerror}") from error


def _backwards(handle: int, end: int, start: int) -> Iterator[bytes]:
    """Yield the lines between two offsets of a file, last one first. The first one may be incomplete."""
    rest = b""
    while end > start:
        begin = max(start, end - BLOCK_BYTES)
        first, *others = (os.pread(handle, end - begin, begin) + rest).split(b"\n")
        yield from reversed(others)
        rest, end = first, begin
    yield rest


def read(directory: Path) -> Iterator[HistoryEntry]:
    """Yield the entries, oldest first, each once, as they are when this begins. A rotation meanwhile changes nothing.

    Lines that are no entry are left out: a killed writer left one incomplete, or a newer version of Conductor wrote it.
    """
    with contextlib.ExitStack() as opened:
        for stream in _open_all(directory, opened):
            for line in stream:
                with contextlib.suppress(msgspec.DecodeError):
                    yield decode(line, HistoryEntry)


def _open_all(directory: Path, opened: contextlib.ExitStack) -> list[BinaryIO]:
    """Return the files as streams, oldest first. A rotation meanwhile leaves none out and opens none twice."""
    current, inode = None, None
    with contextlib.suppress(FileNotFoundError):
        current = opened.enter_context((directory / CURRENT).open("rb"))
        inode = os.fstat(current.fileno()).st_ino
    streams: list[BinaryIO] = []
    for path in sorted(directory.glob(ROTATED)):
        with contextlib.suppress(FileNotFoundError):  # removed meanwhile
            stream = opened.enter_context(path.open("rb"))
            if os.fstat(stream.fileno()).st_ino == inode:  # renamed meanwhile: all later ones are newer
                break
            streams.append(stream)
    return [*streams, *([current] if current else [])]


def size(directory: Path) -> int:
    """Return the bytes of the current file."""
    try:
        return (directory / CURRENT).stat().st_size
    except OSError:
        return 0


def rotated(directory: Path) -> tuple[KeptFile, ...]:
    """Return the rotated files, oldest first."""
    found = []
    for path in sorted(directory.glob(ROTATED)):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found.append(KeptFile(name=path.name, modified=status.st_mtime, bytes=status.st_size))
    return tuple(found)


def remove_rotated(directory: Path, name: str) -> None:
    """Remove a rotated file."""
    try:
        (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise ConductorError(f"cannot remove {directory / name}: {error.strerror}") from error


def rotate(directory: Path) -> None:
    """Give the current file the next number, in one rename. The caller holds the lock of the rotation."""
    names = [f"{name}.jsonl" for name in files.names(directory, ".jsonl")]  # or an error, never none of several
    last = max((int(name.split(".")[1]) for name in fnmatch.filter(names, ROTATED)), default=0)
    try:
        (directory / CURRENT).rename(directory / f"history.{last + 1:06}.jsonl")
        files.sync_directory(directory)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ConductorError(f"cannot rename {directory / CURRENT}: {error.strerror}") from error
