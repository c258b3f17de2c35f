"""All that a container prints, read to its end within limits: what an app generates may be endless, or never end."""

from conductor.clock import Clock
from conductor.runtime.docker.attach import NotStartedError, TaskRuntime
from conductor.runtime.docker.responses import frames
from conductor.runtime.port import Captured

TICK_SECONDS = 0.1  # Ctrl-C is heard this often
CHUNK = 65536


def capture(daemon: TaskRuntime, clock: Clock, container: str, timeout_seconds: float, most_bytes: int) -> Captured:
    """Implements `Engine.capture`. What is over its limits is left running: the caller removes it."""
    stream = daemon.attach(container)
    wait = daemon.wait(container)
    try:
        daemon.start(container, "it")
    except NotStartedError as error:
        return Captured(output=b"", errors=b"", failure=f"did not run: {error.sentence}")
    until, received, cut = clock.monotonic() + timeout_seconds, bytearray(), ""
    stream.settimeout(TICK_SECONDS)
    while not cut:
        clock.check()
        try:
            data = stream.recv(CHUNK)
        except TimeoutError:
            data = None
        if data == b"":
            break
        received += data or b""
        if len(received) > most_bytes:
            cut = f"printed more than {most_bytes >> 10} KiB"
        elif clock.monotonic() >= until:
            cut = f"did not end within {timeout_seconds:g}s"
    stream.close()
    code = 0 if cut else wait()
    said = list(frames(bytes(received)))
    return Captured(
        output=b"".join(data for stream, data in said if stream == 1),
        errors=b"".join(data for stream, data in said if stream == 2),
        failure=cut or (f"exited with code {code}" if code else ""),
    )
