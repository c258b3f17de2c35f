"""The error of an action is its last event and an exit code, also an OSError that no adapter has translated."""

import errno
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conductor.change.context import Context
from conductor.commands.action import AS_ROOT, reported, run_action
from conductor.errors import ConductorError, Interrupted
from conductor.output.events import Finished
from conductor.plan.history import HistoryEntry, Outcome
from conductor.state.history import read


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


def denied() -> ConductorError:
    """Return the error of an adapter that has no hint, with more context."""
    try:
        try:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/x")
        except OSError as error:
            raise ConductorError("cannot read /x: Permission denied") from error
    except ConductorError as error:
        try:
            raise error.within("upgrade web") from error
        except ConductorError as wrapped:
            return wrapped


@pytest.mark.parametrize(
    ("error", "user", "hint"),
    [
        (denied(), 1000, AS_ROOT),
        (denied().within(hint="another"), 1000, "another"),
        (denied(), 0, ""),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/x"), 1000, AS_ROOT),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "/x"), 1000, ""),
        (ConductorError("cannot x: y"), 1000, ""),
    ],
)
def test_an_error_that_root_would_not_get_says_so(
    error: ConductorError | OSError, user: int, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert reported(error).hint == hint


ENTRY = HistoryEntry(at="2026-01-01T00:00:09.000Z", began="2026-01-01T00:00:00.000Z", service="web", action="upgrade",
    outcome=Outcome.DONE, who="ada", to="r1")  # fmt: skip


class Upgrade:
    """An action that ends the change of two services, and returns or raises."""

    def __init__(self, directory: Path, script: str, error: Exception | None = None) -> None:
        self._error = error
        self.state = directory / "state"
        self.config = directory / "services.yml"
        notify = {"command": ["/bin/sh", "-c", script], "on": ["succeeded", "failed"], "timeout": "5s"}
        host = {"state_dir": str(self.state), "runtime_dir": str(directory / "run"), "notify": notify}
        self.config.write_text(json.dumps({"version": 1, "host": host, "services": {}}))

    def run(self, _definitions: object, context: Context) -> Finished:
        for service in ("web", "worker"):
            outcome = Outcome.REFUSED if self._error else Outcome.DONE
            context.history.append(msgspec.structs.replace(ENTRY, service=service, outcome=outcome))
        if self._error:
            raise self._error
        return Finished(text="done", seconds=1.0, warnings=1)


def events(printed: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed.splitlines()]


def test_its_notifications_are_delivered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    upgrade = Upgrade(tmp_path, f"cat >{tmp_path}/$$; echo noise; echo noise >&2")
    assert run_action(upgrade.config, "test", upgrade.run, as_json=True) == 0
    got = sorted(
        (json.loads(path.read_text()) for path in tmp_path.glob("[0-9]*")), key=lambda one: str(one["service"])
    )
    assert [(one["event"], one["service"], one["duration"]) for one in got] == [
        ("succeeded", "web", 9.0), ("succeeded", "worker", 9.0),
    ]  # fmt: skip
    assert [one["event"] for one in events(capsys.readouterr().out)] == ["finished"]


def test_a_failed_notification_is_a_warning_and_the_action_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upgrade = Upgrade(tmp_path, "echo no pager >&2; exit 3")
    assert run_action(upgrade.config, "test", upgrade.run, as_json=True) == 0
    *warnings, last = events(capsys.readouterr().out)
    assert sorted(one["text"] for one in warnings) == [
        f"cannot send a notification about {service}: /bin/sh exited with code 3: no pager"
        for service in ("web", "worker")
    ]
    assert (last["event"], last["warnings"]) == ("finished", 3)


def test_a_failed_action_is_notified_and_its_error_is_the_last_event(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upgrade = Upgrade(tmp_path, f"cat >>{tmp_path}/got; exit 3", ConductorError("cannot x: y"))
    assert run_action(upgrade.config, "test", upgrade.run, as_json=True) == 1
    assert [json.loads(line)["event"] for line in (tmp_path / "got").read_text().splitlines()] == ["failed"] * 2
    assert [one["event"] for one in events(capsys.readouterr().out)] == ["warning", "warning", "failed"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_a_notification_changes_nothing(tmp_path: Path, number: signal.Signals) -> None:
    upgrade = Upgrade(tmp_path, f"kill -{number.value} {os.getpid()}; cat >>{tmp_path}/got")
    assert run_action(upgrade.config, "test", upgrade.run, as_json=False) == 0
    assert len((tmp_path / "got").read_text().splitlines()) == 2
    assert [entry.outcome for entry in read(upgrade.state)] == [Outcome.DONE] * 2
