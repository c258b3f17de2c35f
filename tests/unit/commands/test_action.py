"""The error of an action is its last event and an exit code, also an OSError that no adapter has translated."""

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.commands.action import run_action
from conductor.errors import ConductorError, Interrupted


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    yield
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (ConductorError("cannot x: y", "do z"), 1, "error: cannot x: y\n  do z\n"),
        (Interrupted(2), 130, "error: interrupted\n"),
        (
            OSError(errno.EROFS, os.strerror(errno.EROFS), "/x"),
            1,
            "error: cannot continue: Read-only file system: /x\n",
        ),
        (BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)), 1, "error: cannot continue: Broken pipe\n"),
    ],
)
def test_errors(error: Exception, code: int, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "services.yml"
    config.write_text("version: 1\nservices: {}\n")

    def action(_definitions: object, _context: object) -> None:
        raise error

    assert run_action(config, "test", action, as_json=False) == code  # type: ignore[arg-type]
    assert capsys.readouterr().err == text
