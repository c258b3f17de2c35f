"""A task from its start to its exit: streams, terminal, signals and time limit."""

import contextlib
import os
from collections.abc import Callable

import msgspec

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.errors import ConductorError, Interrupted
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.history import Outcome
from conductor.runtime.docker.attach import TaskRuntime
from conductor.tasks.signals import ENDING_SIGNALS, HANGUP, RESIZED, STOP_REQUESTS, Signals
from conductor.tasks.streams import Sink, in_thread, pump_input, pump_output
from conductor.times import duration_text

KILLED_SECONDS = 60.0  # for the exit after SIGKILL, which waits for a process that is stuck in the kernel
KILL_AT_STOP_REQUEST = 3  # the third Ctrl-C or SIGTERM kills a task that ignores them


class TaskEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a task ended. `outcome` is DONE when it exited by itself, TIMED_OUT or HUNG_UP when Conductor stopped it."""

    exit_code: int
    seconds: float
    outcome: Outcome


class AttachedTask:
    """One container that the main thread creates, starts and follows. `command` is its first word, for errors."""

    def __init__(
        self, runtime: TaskRuntime, clock: Clock, cancellation: Cancellation, spec: ContainerSpec, command: str
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._cancellation = cancellation
        self._spec = spec
        self._command = command
        self._container = ""
        self._until: float | None = None  # when the next of `_kills` is due
        self._outcome = Outcome.DONE
        self._kills = [str(spec.stop.signal), "SIGKILL"]
        self._stop_requests = 0

    def run(self, timeout: float | None, keep: Callable[[bytes], None]) -> TaskEnd:
        """Start the task; return once it has exited and its output is written. `keep` receives the output too."""
        with contextlib.ExitStack() as stack:
            with self._runtime.starting(self._spec) as self._container:
                signals = Signals(terminal=self._spec.tty)
                self._cancellation.check()  # for a signal that arrived before `Signals` took over
                stream = self._runtime.attach(self._container, self._command)
                pending = self._runtime.wait(self._container)
                if self._spec.tty:
                    stack.enter_context(_raw_terminal())
                for number in ENDING_SIGNALS.intersection(signals.wait(0)):
                    raise Interrupted(number)
                began = self._clock.monotonic()
                self._runtime.start(self._container, self._command)
            # from here, as a signal during a slow start comes before the task has set its handler
            self._until = None if timeout is None else self._clock.monotonic() + timeout
            ends: list[
                int | ConductorError | None
            ] = []  # the exit code or its error, and None for the end of the output

            def add_end(end: int | ConductorError | None) -> None:
                ends.append(end)
                signals.wake()

            def write_output() -> None:
                pump_output(stream, Sink(1, keep), Sink(2, keep), framed=not self._spec.tty)
                add_end(None)

            in_thread(lambda: add_end(_result(pending.code)))
            in_thread(write_output)
            if self._spec.stdin:
                in_thread(lambda: self._input_ended(pump_input(stream), signals))
            self._resize()
            result = self._follow(signals, ends)
            seconds = round(self._clock.monotonic() - began, 3)
        if isinstance(result, ConductorError):
            raise result
        with contextlib.suppress(ConductorError):  # a container that stays is found by its labels and removed later
            self._runtime.remove(self._container)
        return TaskEnd(exit_code=result, seconds=seconds, outcome=self._outcome)

    def _follow(self, signals: Signals, ends: list[int | ConductorError | None]) -> int | ConductorError:
        """Return the exit code once the output has ended too. After the exit, an ending signal drops the rest of the output."""
        while True:
            result = next((end for end in ends if end is not None), None)
            if result is not None and len(ends) == 2:
                return result
            until = self._until if result is None else None  # a slow reader of the output has no time limit
            numbers = signals.wait(None if until is None else until - self._clock.monotonic())
            if result is not None and ENDING_SIGNALS.intersection(numbers):
                return result
            self._forward(numbers)
            if result is None:
                self._enforce_time_limit()

    def _forward(self, numbers: list[int]) -> None:
        for number in numbers:
            if number == RESIZED:
                self._resize()
            elif number == HANGUP:
                self._hang_up()
            else:
                self._stop_requests += number in STOP_REQUESTS
                kills = self._stop_requests >= KILL_AT_STOP_REQUEST
                self._runtime.kill(self._container, "SIGKILL" if kills else str(number))

    def _resize(self) -> None:
        if self._spec.tty:
            with contextlib.suppress(OSError):  # the terminal was closed
                columns, rows = os.get_terminal_size(0)
                self._runtime.resize(self._container, rows, columns)

    def _input_ended(self, stdin_ended: bool, signals: Signals) -> None:
        if stdin_ended and self._spec.tty:
            self._hang_up()
            signals.wake()

    def _hang_up(self) -> None:
        """Stop the task: its terminal was closed. Both a signal and the end of the input report that."""
        if self._outcome is Outcome.DONE:
            self._until, self._outcome = self._clock.monotonic(), Outcome.HUNG_UP

    def _enforce_time_limit(self) -> None:
        """Send the stop signal when the time is over, and SIGKILL when the grace period is over. Raise when that ends nothing."""
        if self._until is not None and self._clock.monotonic() >= self._until:
            if self._outcome is Outcome.DONE:
                self._outcome = Outcome.TIMED_OUT
            if not self._kills:
                raise ConductorError(
                    f"cannot stop {self._command}: {self._spec.name} is still running {duration_text(KILLED_SECONDS)} after SIGKILL",
                    f"check it with docker inspect {self._spec.name}",
                )
            self._runtime.kill(self._container, self._kills.pop(0))
            self._until = self._clock.monotonic() + (self._spec.stop.grace if self._kills else KILLED_SECONDS)


def _raw_terminal() -> contextlib.AbstractContextManager[None]:
    from conductor.tasks import terminal  # imported here because cron jobs do not need it

    return terminal.raw()


def _result(code: Callable[[], int]) -> int | ConductorError:
    try:
        return code()
    except ConductorError as error:
        return error
