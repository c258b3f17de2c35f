"""A log that Podman keeps in a file: as conmon 2.1.12 writes it, and while it is written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from conductor.errors import ConductorError
from conductor.plan.log import LogLine
from conductor.runtime.docker.log_file import read_log_file
from tests.fakes.runtime import FakeClock

WRITTEN = b"""\
2026-11-29T19:54:03.500000001+00:00 stdout F one
2026-11-29T19:54:03.500000001+00:00 stderr F two
2026-11-29T21:54:04.000000000+02:00 stdout P three, \r
2026-11-29T21:54:04.000000005+02:00 stdout P which is long,
2026-11-29T21:54:04.000000009+02:00 stdout F  ends\r
2026-11-29T19:54:05.000000000+00:00 stdout P no newline
"""
LINES = [
    LogLine("2026-11-29T19:54:03.500000001Z", "stdout", "one"),
    LogLine("2026-11-29T19:54:03.500000002Z", "stderr", "two"),  # each line has its own time
    LogLine("2026-11-29T19:54:04.000000000Z", "stdout", "three, \rwhich is long, ends"),
    LogLine("2026-11-29T19:54:05.000000000Z", "stdout", "no newline"),
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    (tmp_path / "ctr.log").write_bytes(WRITTEN)
    return tmp_path / "ctr.log"


def read(log: Path, tail: int | None = None, runs: Callable[[], bool] | None = None) -> list[LogLine]:
    return list(read_log_file(str(log), FakeClock(), tail, runs, "cannot read it"))


@pytest.mark.parametrize("tail", [None, 1, 2, 3, 4, 9])
def test_lines(log: Path, tail: int | None) -> None:
    expected = LINES if tail is None else LINES[-tail:] if tail < 4 else LINES
    found = read(log, tail)
    assert [(line.stream, line.text) for line in found] == [(line.stream, line.text) for line in expected]


def test_times(log: Path) -> None:
    assert read(log) == LINES


def test_a_file_that_does_not_exist(tmp_path: Path) -> None:
    assert read(tmp_path / "none") == []
    assert read(tmp_path / "none", runs=iter([True, False]).__next__) == []


def test_a_line_that_is_not_of_this_format(log: Path) -> None:
    log.write_bytes(b"nonsense\n")
    with pytest.raises(ConductorError) as raised:
        read(log)
    assert raised.value.sentence == "cannot read it: nonsense"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConductorError) as raised:
        read(tmp_path)
    assert raised.value.sentence == f"cannot read it: {tmp_path}: Is a directory"


def test_a_followed_log_is_read_to_the_end_of_its_container(tmp_path: Path) -> None:
    """It does not exist yet; a line is written in two parts; the file is full and replaced; the container exits."""
    log = tmp_path / "ctr.log"
    lines = WRITTEN.splitlines(keepends=True)
    states = iter(
        [
            lambda: log.write_bytes(lines[0] + lines[1][:40]),
            lambda: log.write_bytes(b"".join(lines[:3])),
            lambda: (tmp_path / "new").write_bytes(b"".join(lines[3:])) and (tmp_path / "new").rename(log),
            lambda: None,
        ]
    )

    def runs() -> bool:
        step = next(states, None)
        if step is not None:
            step()
        return step is not None

    assert read(log, runs=runs) == LINES


def test_a_followed_log_begins_with_its_last_lines(log: Path) -> None:
    assert [line.text for line in read(log, 2, iter([True, False]).__next__)] == [
        "three, \rwhich is long, ends",
        "no newline",
    ]
