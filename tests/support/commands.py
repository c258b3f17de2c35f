"""Runs `python -m conductor` as a process, with its output in files so that no pipe fills up."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]


class Result(NamedTuple):
    """The result of a command. `code` is negative when a signal ended it, as in `subprocess`."""

    words: tuple[str, ...]
    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def output(self) -> str:
        """Return stdout followed by stderr."""
        return self.stdout + self.stderr

    def expect(self, code: int) -> "Result":
        """Check the exit code; return the result itself."""
        if self.code != code:
            raise AssertionError(f"exit code {self.code}, not {code}: {self}")
        return self

    def __str__(self) -> str:
        streams = f"-- stdout --\n{self.stdout}\n-- stderr --\n{self.stderr}"
        return f"conductor {' '.join(self.words)}: exit code {self.code} after {self.seconds:.2f} s\n{streams}"


class Spawned:
    """A running command, leader of its own session."""

    def __init__(self, words: tuple[str, ...], environment: dict[str, str], directory: Path, **popen: Any) -> None:
        self.words = words
        self.stdout_file = directory / f"{time.monotonic_ns()}.out"
        self.stderr_file = self.stdout_file.with_suffix(".err")
        self._began = time.monotonic()
        with contextlib.ExitStack() as stack:
            files: list[IO[bytes]] = [stack.enter_context(p.open("wb")) for p in (self.stdout_file, self.stderr_file)]
            chosen: dict[str, Any] = {
                "stdin": subprocess.DEVNULL,
                "stdout": files[0],
                "stderr": files[1],
                **popen,
            }
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-m", "conductor", *words],
                cwd=directory,
                env=environment,
                start_new_session=True,
                **chosen,
            )

    @property
    def pid(self) -> int:
        """Return its process id."""
        return self.process.pid

    @property
    def stdout(self) -> str:
        """Return its stdout so far, unless the caller redirected it."""
        return self.stdout_file.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        """Return its stderr so far, unless the caller redirected it."""
        return self.stderr_file.read_text(errors="replace")

    def running(self) -> bool:
        """True until it has exited."""
        return self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send a signal to the command, not to its children."""
        self.process.send_signal(number)

    def kill(self) -> Result:
        """Kill it with SIGKILL, as the kernel does when memory runs out, and wait."""
        self.process.kill()
        return self.wait(10)

    def wait(self, timeout: float = 120) -> Result:
        """Wait for its exit. After `timeout` seconds kill it with its children and raise `AssertionError`."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.end()
            raise AssertionError(f"did not exit within {timeout} s: {self._result(-signal.SIGKILL)}") from None
        return self._result(code)

    def end(self) -> None:
        """Kill it and its children, if any of them still runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _result(self, code: int) -> Result:
        return Result(self.words, code, self.stdout, self.stderr, time.monotonic() - self._began)
