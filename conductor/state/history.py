"""The history file: one line of JSON per action."""

import os
from pathlib import Path
from typing import Protocol

import msgspec

from conductor.errors import ConductorError
from conductor.plan.history import HistoryEntry
from conductor.state import files


class HistoryWriter(Protocol):
    """Takes the entries of the history."""

    def append(self, entry: HistoryEntry) -> None:
        """Write one entry; it is on disk when this returns."""


class History:
    """`history.jsonl` of one state directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def append(self, entry: HistoryEntry) -> None:
        """Append one line. A last line that a killed writer left incomplete is ended first."""
        path = files.make_directory(self._directory) / "history.jsonl"
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
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
