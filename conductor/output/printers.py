"""Events to lines: plain ones for logs, one that transitions on a terminal, JSON for programs.

A closed stream never stops an action: from the first failed write on a printer is silent.
"""

import os
import threading
import time
from typing import Protocol, TextIO

import msgspec

from conductor.output.events import Began, Ended, Event, Failed, Finished, Told, Waiting, Warned

REDRAW_SECONDS = 0.1
SLOW_STEP_SECONDS = 5.0  # a plain log says what is waited for at most this often


class Reporter(Protocol):
    """Where events go; safe to call from several threads."""

    def emit(self, event: Event) -> None:
        """Tell it."""


def make_printer(*, json: bool, stdout: TextIO, stderr: TextIO) -> Reporter:
    """JSON events on stdout, or text on stderr: live on a terminal, plain lines elsewhere."""
    if json:
        return JsonPrinter(stdout)
    if stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        return LivePrinter(stderr, colour="NO_COLOR" not in os.environ)
    return LinePrinter(stderr)


class _Writer:
    """One stream that may vanish at any time."""

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

    def __init__(self, stream: TextIO) -> None:
        self._writer = _Writer(stream)
        self._lock = threading.Lock()

    def emit(self, event: Event) -> None:
        """Write the event at once."""
        with self._lock:
            self._writer.write(msgspec.json.encode(event).decode() + "\n")


def line(event: Event) -> str | None:
    """An event as plain text without a final newline; None for one that has no line of its own."""
    match event:
        case Began(step, text):
            return f"{step:>8}  {text}"
        case Waiting(step, text):
            return f"{step:>8}  … {text}"
        case Ended(step, seconds, text):
            return f"{step:>8}  done in {seconds:.2f}s" + (f": {text}" if text else "")
        case Told(text):
            return text
        case Warned(text):
            return f"warning: {text}"
        case Failed(text, details, hint, _):
            return "\n".join([f"error: {text}", *(f"  {d}" for d in details), *([f"  {hint}"] if hint else [])])
        case Finished(text, seconds, warnings, _):
            counted = f", {warnings} warning{'s' * (warnings != 1)}" if warnings else ""
            return f"{text} ({seconds:.1f}s{counted})"
    return None


class LinePrinter:
    """A line an event, for logs; what is waited for is told only now and then."""

    def __init__(self, stream: TextIO) -> None:
        self._writer = _Writer(stream)
        self._lock = threading.Lock()
        self._told = time.monotonic()

    def emit(self, event: Event) -> None:
        """Write the event's line."""
        with self._lock:
            now = time.monotonic()
            if isinstance(event, Waiting) and now - self._told < SLOW_STEP_SECONDS:
                return
            self._told = now
            text = line(event)
            if text is not None:
                self._writer.write(text + "\n")


class LivePrinter:
    """On a terminal: finished steps stay as lines, the one under way is redrawn with its time and what it waits for."""

    def __init__(self, stream: TextIO, *, colour: bool) -> None:
        self._writer = _Writer(stream)
        self._stream = stream
        self._colour = colour
        self._lock = threading.Lock()
        self._began: Began | None = None
        self._since = 0.0
        self._waiting = ""
        threading.Thread(target=self._redraw, daemon=True).start()

    def emit(self, event: Event) -> None:
        """Show the event."""
        with self._lock:
            match event:
                case Began():
                    self._began, self._since, self._waiting = event, time.monotonic(), ""
                case Waiting():
                    self._waiting = event.text
                case Ended(step, seconds, text):
                    began, self._began = self._began, None
                    said = text or (began.text if began else "")
                    self._line(f"{self._mark('32', '✓')} {step:<8} {said} ({seconds:.2f}s)")
                case Failed():
                    self._began = None
                    self._line(f"{self._mark('31', '✗')} {line(event)}")
                case Warned():
                    self._line(f"{self._mark('33', '!')} {event.text}")
                case _:
                    self._line(line(event) or "")

    def _mark(self, code: str, sign: str) -> str:
        return f"\x1b[{code}m{sign}\x1b[0m" if self._colour else sign

    def _line(self, text: str) -> None:
        self._writer.write(f"\r\x1b[K{text}\n")

    def _redraw(self) -> None:
        while True:
            time.sleep(REDRAW_SECONDS)
            with self._lock:
                if self._began is not None:
                    self._writer.write(f"\r\x1b[K{self._moving(self._began)}")

    def _moving(self, began: Began) -> str:
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns
        except (OSError, ValueError):
            columns = 80
        waiting = f": {self._waiting}" if self._waiting else ""
        return f"… {began.step:<8} {began.text} {time.monotonic() - self._since:.1f}s{waiting}"[: columns - 1]


class Silent:
    """For queries, whose answer is not a stream of events."""

    def emit(self, event: Event) -> None:
        """Say nothing."""
