"""Commands that check the health of a container inside it."""

import contextlib

from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.plan.replica import CheckResult
from conductor.runtime.docker import responses
from conductor.runtime.docker.exec_process import kill_tree
from conductor.runtime.docker.sdk import NotFound, Sdk
from conductor.runtime.docker.shapes import Command, WithId, read
from conductor.times import duration_text

CHECK_OUTPUT_BYTES = 65536  # kept of a check's output; the caller shortens it after secrets are removed
REMEMBERED = 1000  # commands that had to be killed


class HealthCommands:
    """The part of `DockerRuntime` that runs commands inside containers."""

    def __init__(self, sdk: Sdk, clock: Clock) -> None:
        self._sdk = sdk
        self._clock = clock
        self._hanging: dict[str, str] = {}  # commands that may still run, by container

    def execute(self, container: str, command: tuple[str, ...], timeout_seconds: float) -> CheckResult:
        """Keep at most `CHECK_OUTPUT_BYTES` from the end of both streams. A command that hangs is killed.

        Its time limit begins when it was started: a slow daemon shows nothing about the container. If a command could not be
        killed, no other command is started in this container until that one has ended.
        """
        began, shown, unknown, made = self._clock.monotonic(), "", False, ""
        try:
            if self._hangs(container):
                return CheckResult(ok=False, seconds=0.0, error=f"{command[0]} from an earlier check is still running")
            with self._sdk.errors(f"cannot run {command[0]}"):
                made = read(self._sdk.api.exec_create(container, list(command)), WithId).id
                stream = self._sdk.api.exec_start(made, socket=True)
            until = self._clock.monotonic() + timeout_seconds
            output = responses.read_frames(stream, lambda: until - self._clock.monotonic(), CHECK_OUTPUT_BYTES)
            with self._sdk.errors(f"cannot read the exit code of {command[0]}"):
                code = read(self._sdk.api.exec_inspect(made), Command).exit_code
        except TimeoutError:
            error = f"{command[0]} did not finish within {duration_text(timeout_seconds)}"
        except OSError as lost:
            error = f"lost the connection to {command[0]}: {lost.strerror or lost}"
        except ConductorError as refused:
            error, unknown = refused.sentence, True
        else:
            error = "" if code == 0 else f"{command[0]} exited with code {code}"
            shown, made = output.decode(errors="replace").strip() if error else "", ""
        if made:
            self._kill(container, made)
        seconds = self._clock.monotonic() - began
        return CheckResult(ok=not error, seconds=seconds, output=shown, error=error, unknown=unknown)

    def _kill(self, container: str, command: str) -> None:
        """Kill a command that was started inside a container, and remember it until it has ended.

        Most of these containers are replaced, and no other command is started in them: only the latest are remembered.
        """
        self._hanging[container] = command
        for oldest in list(self._hanging)[:-REMEMBERED]:
            self._hanging.pop(oldest, None)
        with contextlib.suppress(ConductorError), self._sdk.errors(f"cannot inspect a command of {container[:12]}"):
            kill_tree(read(self._sdk.api.exec_inspect(command), Command).pid, container)

    def _hangs(self, container: str) -> bool:
        """Return whether a command that had to be killed is still running."""
        command = self._hanging.get(container)
        if command is not None:
            with (
                self._sdk.errors(f"cannot inspect a command of {container[:12]}"),
                contextlib.suppress(NotFound),
            ):
                if read(self._sdk.api.exec_inspect(command), Command).running:
                    return True
            self._hanging.pop(container, None)
        return False
