"""Runs the command of a notification: the document on stdin, a clean environment, a process group of its own."""

import contextlib
import os
import select
import signal
import subprocess
from collections.abc import Callable, Sequence

from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.times import duration_text

# The command is the same from a terminal, from cron and from systemd.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
PIPE_BYTES = 65536  # all that a pipe holds (pipe(7))
SHOWN_CHARACTERS = 300  # of the end of stderr


def run(command: Sequence[str], document: bytes, seconds: float, redact: Callable[[str], str]) -> None:
    """Run the command. Raise `ConductorError` if it fails or does not end within `seconds`.

    Remaining processes of its group are killed, even after a success. Its stdout is discarded. An error contains the end of
    its stderr, through `redact`.
    """
    try:
        process = _start(command, document)
    except OSError as error:
        raise ConductorError(f"cannot run {command[0]}: {error.strerror}") from error
    with process:
        try:
            ended, output = _follow(process, seconds)
        finally:  # before the process is reaped: until then, no other group can have its id
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if ended and not process.returncode:
        return
    shown = redact(output.decode(errors="replace")).strip()
    if len(shown) > SHOWN_CHARACTERS:
        shown = f"…{shown[-SHOWN_CHARACTERS:]}"
    stderr = f": {' '.join(shown.split())}" if shown else ""
    if not ended:
        raise ConductorError(f"{command[0]} did not finish within {duration_text(seconds)} and was killed{stderr}")
    how = f"exited with code {process.returncode}"
    if process.returncode < 0:
        how = f"was killed by signal {-process.returncode}"
    raise ConductorError(f"{command[0]} {how}{stderr}")


def _start(command: Sequence[str], document: bytes) -> "subprocess.Popen[bytes]":
    # A file in memory: a command that does not read its stdin blocks nothing, and a full disk does not matter.
    with os.fdopen(os.memfd_create("notification"), "w+b") as given:
        given.write(document)
        given.seek(0)
        return subprocess.Popen(
            command, stdin=given, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT, cwd="/",
            start_new_session=True,
        )  # fmt: skip


def _follow(process: "subprocess.Popen[bytes]", seconds: float) -> tuple[bool, bytes]:
    """Wait until the process has exited, without reaping it. Return whether it has, and the end of its stderr."""
    clock, output, pipe = Clock(), b"", process.stderr.fileno() if process.stderr else -1
    until = clock.monotonic() + seconds
    exited = os.pidfd_open(process.pid)
    try:
        os.set_blocking(pipe, False)
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        poll.register(exited, select.POLLIN)
        while (left := until - clock.monotonic()) > 0:
            ready = [descriptor for descriptor, _ in poll.poll(left * 1000)]
            if pipe in ready:
                data = _read(pipe)
                output = (output + data)[-PIPE_BYTES:]
                if not data:
                    poll.unregister(pipe)
            if exited in ready:
                return True, (output + _read(pipe))[-PIPE_BYTES:]
        return False, output
    finally:
        os.close(exited)


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, PIPE_BYTES)
    except BlockingIOError:
        return b""
