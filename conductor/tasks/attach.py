"""A task from its start to its exit code: streams, terminal, signals and time limit."""

import contextlib
import os
from collections.abc import Callable
from typing import Literal

import msgspec

from conductor.clock import Clock
from conductor.errors import ConductorError, Interrupted
from conductor.plan.container_spec import ContainerSpec
from conductor.runtime.docker.attach import TaskRuntime
from conductor.tasks.signals import ENDING, HANGUP, INSISTING, RESIZED, Signals
from conductor.tasks.streams import Sink, in_thread, pump_input, pump_output

IMPATIENT = 3  # so many Ctrl-C or SIGTERM kill a task that ignores them


class End(msgspec.Struct, frozen=True, kw_only=True):
    """How a task ended; `cut` says why it was stopped by us, if it was."""

    code: int
    seconds: float
    cut: Literal["", "timeout", "hangup"]


class Follower:
    """One container, made, started and followed to its end by the main thread; `command` is its first word, for errors."""

    def __init__(self, daemon: TaskRuntime, clock: Clock, spec: ContainerSpec, command: str) -> None:
        self._daemon = daemon
        self._clock = clock
        self._spec = spec
        self._command = command
        self._container = ""
        self._until: float | None = None
        self._cut: Literal["", "timeout", "hangup"] = ""
        self._kills = [str(spec.stop.signal), "SIGKILL"]  # what it is sent when its time is over
        self._impatience = 0

    def follow(self, timeout: float | None, keep: Callable[[bytes], None]) -> End:
        """Start it and stay until it has ended and all its output is with whoever reads it."""
        signals = Signals()
        self._clock.check()  # one that came before anybody listened for the task
        with contextlib.ExitStack() as stack:
            with self._daemon.starting(self._spec) as self._container:
                stream = self._daemon.attach(self._container)
                wait = self._daemon.wait(self._container)
                if self._spec.tty:
                    stack.enter_context(_raw_terminal())
                for number in ENDING.intersection(signals.wait(0)):
                    raise Interrupted(number)
                began = self._clock.monotonic()
                self._daemon.start(self._container, self._command)
            self._until = None if timeout is None else began + timeout
            ends: list[int | ConductorError | None] = []

            def has_ended(how: int | ConductorError | None) -> None:
                ends.append(how)
                signals.news()

            def output() -> None:
                pump_output(stream, Sink(1, keep), Sink(2, keep), framed=not self._spec.tty)
                has_ended(None)

            in_thread(lambda: has_ended(_caught(wait)))
            in_thread(output)
            if self._spec.stdin:
                in_thread(lambda: self._input_ended(pump_input(stream), signals))
            self._resize()
            how = self._stay(signals, ends)
            seconds = round(self._clock.monotonic() - began, 3)
        if isinstance(how, ConductorError):
            raise how
        with contextlib.suppress(ConductorError):  # it is labelled: whoever looks next removes it
            self._daemon.remove(self._container)
        return End(code=how, seconds=seconds, cut=self._cut)

    def _stay(self, signals: Signals, ends: list[int | ConductorError | None]) -> int | ConductorError:
        """Until the exit code and the end of the output have come; or just the code, when nobody reads the rest."""
        while True:
            code = next((how for how in ends if how is not None), None)
            if code is not None and len(ends) == 2:
                return code
            numbers = signals.wait(None if self._until is None else self._until - self._clock.monotonic())
            if code is not None and ENDING.intersection(numbers):
                return code
            self._pass_on(numbers)
            self._keep_time()

    def _pass_on(self, numbers: list[int]) -> None:
        for number in numbers:
            if number == RESIZED:
                self._resize()
            elif number == HANGUP and self._spec.tty:
                self._hang_up()
            else:
                self._impatience += number in INSISTING
                self._daemon.kill(self._container, "SIGKILL" if self._impatience >= IMPATIENT else str(number))

    def _resize(self) -> None:
        if self._spec.tty:
            with contextlib.suppress(OSError):  # a terminal that is gone
                columns, rows = os.get_terminal_size(0)
                self._daemon.resize(self._container, rows, columns)

    def _input_ended(self, terminal_gone: bool, signals: Signals) -> None:
        if terminal_gone and self._spec.tty:
            self._hang_up()
            signals.news()

    def _hang_up(self) -> None:
        """The terminal is gone: nobody can end the task any more but us. A signal and the end of input both say so."""
        if not self._cut:
            self._until, self._cut = self._clock.monotonic(), "hangup"

    def _keep_time(self) -> None:
        """Past its time it is asked to stop, and killed when its grace is over too."""
        if self._until is not None and self._clock.monotonic() >= self._until:
            self._cut = self._cut or "timeout"
            self._daemon.kill(self._container, self._kills.pop(0))
            self._until = self._until + self._spec.stop.grace if self._kills else None


def _raw_terminal() -> contextlib.AbstractContextManager[None]:
    from conductor.tasks import terminal  # not needed by cron

    return terminal.raw()


def _caught(wait: Callable[[], int]) -> int | ConductorError:
    try:
        return wait()
    except ConductorError as error:
        return error
