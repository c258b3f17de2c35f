"""Reads the whole output of a container within limits: what an app prints may be endless."""

import contextlib

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.runtime.docker.attach import NotStartedError, TaskRuntime
from conductor.runtime.docker.responses import frames
from conductor.runtime.port import Captured
from conductor.times import duration_text

TICK_SECONDS = 0.1  # between two checks for an interruption
CHUNK_BYTES = 65536
_COMMAND = "the command"  # in errors


def capture(
    tasks: TaskRuntime,
    clock: Clock,
    cancellation: Cancellation,
    container: str,
    *,
    timeout_seconds: float,
    max_bytes: int,
) -> Captured:
    """Implement `Runtime.capture`. A container that exceeds a limit keeps running: the caller removes it."""
    with contextlib.ExitStack() as opened:
        try:
            stream = opened.enter_context(contextlib.closing(tasks.attach(container, _COMMAND)))
            pending = opened.enter_context(contextlib.closing(tasks.wait(container)))
            tasks.start(container, _COMMAND)
        except NotStartedError as error:
            return Captured(stdout=b"", stderr=b"", failure=f"did not start: {error.sentence}")
        until, received, exceeded = clock.monotonic() + timeout_seconds, bytearray(), ""
        stream.settimeout(TICK_SECONDS)
        while not exceeded:
            cancellation.check()
            try:
                data = stream.recv(CHUNK_BYTES)
            except TimeoutError:
                data = None
            if data == b"":
                break
            received += data or b""
            if len(received) > max_bytes:
                exceeded = f"printed more than {max_bytes >> 10} KiB"
            elif clock.monotonic() >= until:
                exceeded = f"did not finish within {duration_text(timeout_seconds)}"
        code = 0 if exceeded else pending.code()
    output = list(frames(bytes(received)))
    return Captured(
        stdout=b"".join(data for number, data in output if number == 1),
        stderr=b"".join(data for number, data in output if number == 2),
        failure=exceeded or (f"exited with code {code}" if code else ""),
    )
