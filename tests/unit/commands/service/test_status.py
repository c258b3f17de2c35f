"""`service status`: its options, and how --watch begins, goes on and ends."""

import contextlib
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from conductor.cli import run
from conductor.commands.service.status import WATCH_SECONDS, watch_host
from conductor.errors import ConductorError, UsageError
from conductor.output.screen import Screen
from conductor.plan.route import TrafficState
from conductor.snapshot.model import HostSnapshot


@pytest.mark.parametrize("command", ["status", "list"])
def test_the_schema_needs_neither_definitions_nor_docker(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["service", command, "--schema", "--config", "/nonexistent"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["$ref"] in {"#/$defs/HostSnapshot", "#/$defs/ServiceList"}


@pytest.mark.parametrize(
    ("options", "words"),
    [([], "standard output is not a terminal"), (["--json"], "cannot combine --watch with --json")],
)
def test_watch_is_refused(options: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["service", "status", "--watch", *options, "--config", "/nonexistent"]) == 2
    assert words in capsys.readouterr().err


def snapshot(time: str) -> HostSnapshot:
    return HostSnapshot(time=time, supervise_running=True, nginx=TrafficState.RUNNING, services=())


def test_watch_draws_errors_too_and_ends_with_ctrl_c() -> None:
    """Docker may be restarted while an operator watches."""
    stream, slept = io.StringIO(), []
    results = [snapshot("12:00"), ConductorError("cannot reach Docker", "systemctl start docker"), snapshot("12:04")]

    def take() -> HostSnapshot:
        result = results.pop(0)
        if isinstance(result, ConductorError):
            raise result
        return result

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if not results:
            raise KeyboardInterrupt

    watch_host(take, Screen(stream), sleep)
    shown = stream.getvalue()
    assert slept == [WATCH_SECONDS] * 3
    assert [shown.index(part) for part in ("12:00", "error: cannot reach Docker", "12:04")] == sorted(
        shown.index(part) for part in ("12:00", "error: cannot reach Docker", "12:04")
    )


def test_watch_refuses_an_unknown_service_and_draws_a_file_that_breaks_later() -> None:
    stream = io.StringIO()
    results: list[HostSnapshot | None] = [snapshot("12:00"), None]

    def take() -> HostSnapshot:
        if result := results.pop(0):
            return result
        raise UsageError("cannot use services.yml")

    def sleep(_seconds: float) -> None:
        if not results:
            raise KeyboardInterrupt

    watch_host(take, Screen(stream), sleep)
    assert "error: cannot use services.yml" in stream.getvalue()
    results.append(None)
    with pytest.raises(UsageError):
        watch_host(take, Screen(stream), sleep)


def test_watch_ends_when_the_terminal_is_gone() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    stream.close()
    watch_host(lambda: snapshot("12:00"), screen, lambda _seconds: pytest.fail("it sleeps"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_watch_on_a_terminal_leaves_it_as_it_was(tmp_path: Path, number: int, code: int) -> None:
    """Docker does not run here, which is shown. The terminal's modes and its screen are the same after any end."""
    config = tmp_path / "services.yml"
    config.write_text(
        f"version: 1\nhost: {{state_dir: {tmp_path}, runtime_dir: {tmp_path}, docker: 'unix://{tmp_path}/none.sock'}}\n"
        "services: {web: {image: x, count: 0}}\n"
    )
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    words = [sys.executable, "-m", "conductor", "service", "status", "--watch", "--config", str(config)]
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        shown = b""
        while b"\x1b[J" not in shown:
            assert select.select([master], [], [], 20)[0], shown
            shown += os.read(master, 4096)
        process.send_signal(number)
        assert process.wait(20) == code
    assert termios.tcgetattr(slave) == before
    os.close(slave)
    with contextlib.suppress(OSError):  # the end of a terminal whose last writer has exited
        while more := os.read(master, 4096):
            shown += more
    os.close(master)
    assert b"error: cannot reach Docker" in shown
    assert b"\x1b[?" not in shown  # neither another screen nor a hidden cursor
    assert (b"\r\x1b[K" in shown[-5:]) is (number == signal.SIGINT)
