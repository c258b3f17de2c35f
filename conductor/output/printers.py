"""Prints events: plain lines for logs, a live line on a terminal, JSON for programs.

Control characters in texts are escaped, because a text may contain the output of an app.

A closed stream never stops an action: after the first failed write, a printer prints nothing more.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TextIO

import msgspec

from conductor.output.events import (
    Event,
    Failed,
    Finished,
    Notice,
    Progress,
    Removed,
    StepFinished,
    StepStarted,
    Warned,
)
from conductor.output.printable import printable, size_text
from conductor.output.verbosity import is_quiet, is_verbose
from conductor.times import duration_text

REDRAW_SECONDS = 0.1
PROGRESS_SECONDS = 3.0  # a plain log reports progress at most this often


class Output(Protocol):
    """Takes the events of an action; safe to call from several threads."""

    def emit(self, event: Event) -> None:
        """Print the event."""


class ChangeOutput:
    """Adds the id of a change and its services to each event."""

    def __init__(self, output: Output, change: str, services: tuple[str, ...]) -> None:
        self._output = output
        self._change = change
        self._services = services

    def emit(self, event: Event) -> None:
        """Pass the event on."""
        self._output.emit(msgspec.structs.replace(event, change=self._change, service_ids=self._services))


class Outputs:
    """Prints each event on several outputs."""

    def __init__(self, *outputs: Output) -> None:
        self._outputs = outputs

    def emit(self, event: Event) -> None:
        """Pass the event to all."""
        for output in self._outputs:
            output.emit(event)


def make_output(*, json: bool, stdout: TextIO, stderr: TextIO, now: Callable[[], str]) -> Output:
    """Return text on stderr, live on a terminal and plain lines elsewhere; with `json` also JSON events on stdout.

    `now` returns the time of an event.
    """
    live = not is_verbose() and stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    text: Output = LivePrinter(stderr, colour="NO_COLOR" not in os.environ) if live else LinePrinter(stderr)
    text = QuietPrinter(text) if is_quiet() else text
    return Outputs(text, JsonPrinter(stdout, now)) if json else text


class _Writer:
    """A stream whose reader may be gone at any time."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._gone = False

    def write(self, text: str) -> None:
        if self._gone:
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):
            self._gone = True


class JsonPrinter:
    """Newline-delimited JSON, one event a line."""

    def __init__(self, stream: TextIO, now: Callable[[], str]) -> None:
        self._writer = _Writer(stream)
        self._lock = threading.Lock()
        self._now = now

    def emit(self, event: Event) -> None:
        """Write the event with its time."""
        with self._lock:
            stamped = msgspec.structs.replace(event, time=self._now())
            self._writer.write(printable(msgspec.json.encode(stamped).decode()) + "\n")


def line(event: Event) -> str:
    """Return an event as plain text without a final newline."""
    match event:
        case StepStarted():
            return f"{event.step:>8}  {event.text}"
        case Progress():
            return f"{event.step:>8}  … {event.text}"
        case StepFinished():
            return f"{event.step:>8}  done in {duration_text(event.seconds)}"
        case Warned():
            return f"warning: {event.text}"
        case Failed():
            return error_text(event.error, event.details, event.hint)
        case Finished():
            warnings = f", {event.warnings} warning{'s' * (event.warnings != 1)}" if event.warnings else ""
            return f"{event.text} ({duration_text(event.seconds)}{warnings})"
        case Notice():
            return event.text
        case Removed():
            of = f" of {event.service}" if event.service else ""
            return f"{'gc':>8}  removed {event.kind} {event.name}{of} (frees up to {size_text(event.bytes)})"
        case _:
            raise TypeError(f"no text for {event!r}")


def error_text(sentence: str, details: Sequence[str], hint: str) -> str:
    """Return an error as lines: its sentence, indented details, and the hint."""
    return "\n".join([f"error: {sentence}", *(f"  {detail}" for detail in details), *([f"  {hint}"] if hint else [])])


class LinePrinter:
    """One line per event, for logs; progress only now and then. `monotonic` returns seconds."""

    def __init__(self, stream: TextIO, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._writer = _Writer(stream)
        self._lock = threading.Lock()
        self._monotonic = monotonic
        self._last = monotonic()

    def emit(self, event: Event) -> None:
        """Write the event's line."""
        with self._lock:
            now = self._monotonic()
            if isinstance(event, Progress) and now - self._last < PROGRESS_SECONDS:
                return
            self._last = now
            self._writer.write(printable(line(event)) + "\n")


class QuietPrinter:
    """Prints how an action ended if it failed or needs an operator, with the warnings before that, and nothing else."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._warnings: list[Event] = []

    def emit(self, event: Event) -> None:
        """Keep a warning; print a bad end."""
        match event:
            case Warned():
                self._warnings.append(event)
            case Failed() | Finished() if event.exit_code:
                for one in (*self._warnings, event):
                    self._output.emit(one)


class LivePrinter:
    """For a terminal: finished steps stay as lines; the current one is redrawn with its duration and progress."""

    def __init__(self, stream: TextIO, *, colour: bool) -> None:
        self._writer = _Writer(stream)
        self._stream = stream
        self._colour = colour
        self._lock = threading.Lock()
        self._step: StepStarted | None = None
        self._since = 0.0
        self._progress = ""
        threading.Thread(target=self._redraw, daemon=True).start()

    def emit(self, event: Event) -> None:
        """Show the event."""
        with self._lock:
            match event:
                case StepStarted():
                    self._step, self._since, self._progress = event, time.monotonic(), ""
                case Progress():
                    self._progress = event.text
                case StepFinished():
                    step, self._step = self._step, None
                    text = step.text if step else ""
                    self._line(f"{event.step:<8} {text} ({duration_text(event.seconds)})", self._mark("32", "✓"))
                case Failed():
                    self._step = None
                    self._line(line(event), self._mark("31", "✗"))
                case Warned():
                    self._line(event.text, self._mark("33", "!"))
                case Finished():
                    self._step = None
                    self._line(line(event))
                case _:
                    self._line(line(event))

    def _mark(self, code: str, sign: str) -> str:
        return f"\x1b[{code}m{sign}\x1b[0m " if self._colour else f"{sign} "

    def _line(self, text: str, mark: str = "") -> None:
        self._writer.write(f"\r\x1b[K{mark}{printable(text)}\n")

    def _redraw(self) -> None:
        while True:
            time.sleep(REDRAW_SECONDS)
            with self._lock:
                if self._step is not None:
                    self._writer.write(f"\r\x1b[K{self._current(self._step)}")

    def _current(self, step: StepStarted) -> str:
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            columns = 80
        progress = f": {self._progress}" if self._progress else ""
        text = f"… {step.step:<8} {step.text} {duration_text(round(time.monotonic() - self._since, 1))}{progress}"
        return printable(text)[: columns - 1]


class NoOutput:
    """For queries, which have no events."""

    def emit(self, event: Event) -> None:
        """Print nothing."""
