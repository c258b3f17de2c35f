"""The logs of removed containers: a file for each, whose first line is a header in JSON.

Every other line is `TIME STREAM TEXT`. The files that older versions wrote have no header and no times.
"""

import contextlib
from pathlib import Path

import msgspec

from conductor.errors import ConductorError
from conductor.json_text import decode
from conductor.plan.log import KeptLog, LogLine
from conductor.plan.replica import Kind
from conductor.state import files

KEPT_LOGS = 50  # of each service
FORMAT = 2  # 1 is a file without a header


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    revision: str
    kind: Kind


def write(directory: Path, log: KeptLog) -> None:
    """Store a log, and delete the oldest of more than `KEPT_LOGS` in the directory. Safe beside other processes."""
    header = _Header(version=FORMAT, revision=log.revision, kind=log.kind)
    lines = [f"{line.time} {line.stream} {line.text}" for line in log.lines]
    data = msgspec.json.encode(header) + "\n".join(["", *lines, ""]).encode(errors="replace")
    files.write_bytes(directory / f"{log.container}.log", data)
    ages = []
    for path in directory.glob("[!.]*.log"):
        with contextlib.suppress(FileNotFoundError):
            ages.append((path.stat().st_mtime_ns, path))
    for _, path in sorted(ages)[:-KEPT_LOGS]:
        path.unlink(missing_ok=True)


def names(directory: Path) -> tuple[str, ...]:
    """Return the names of the containers whose logs are kept."""
    return tuple(sorted(path.stem for path in directory.glob("[!.]*.log")))


def read(directory: Path, container: str, *, with_lines: bool = True) -> KeptLog | None:
    """Return a kept log, or None when there is none."""
    path = directory / f"{container}.log"
    try:
        with path.open("rb") as file:
            modified = path.stat().st_mtime
            first, rest = (
                data.decode(errors="replace") for data in (file.readline(), file.read() if with_lines else b"")
            )
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConductorError(f"cannot read {path}: {error.strerror}") from error
    try:
        header = decode(first, _Header)
    except msgspec.DecodeError:
        return _of_format_1(directory.name, container, first + rest, modified)
    if header.version > FORMAT:
        raise ConductorError(
            f"cannot read {path}: its format is {header.version}; this version of Conductor reads formats up to {FORMAT}",
            "upgrade Conductor",
        )
    lines = tuple(line for one in rest.split("\n") if (line := _line(one)))
    return KeptLog(
        container=container, revision=header.revision, kind=header.kind, lines=lines, modified=modified
    )  # fmt: skip


def _line(text: str) -> LogLine | None:
    time, _, rest = text.partition(" ")
    stream, _, printed = rest.partition(" ")
    return LogLine(time, "stderr" if stream == "stderr" else "stdout", printed) if time else None


def _of_format_1(service: str, container: str, text: str, modified: float) -> KeptLog:
    """The name is SERVICE-REVISION-CHANGE-NUMBER, or ends in `-hook`. The revision is cut, and may contain `-`."""
    rest, _, number = container.rpartition("-")
    revision = rest.rpartition("-")[0].removeprefix(f"{service}-")
    lines = tuple(LogLine("", "stdout", line) for line in text.removesuffix("\n").split("\n") if text)
    kind: Kind = "service" if number.isdigit() else "hook"
    return KeptLog(container=container, revision=revision, kind=kind, lines=lines, modified=modified)
