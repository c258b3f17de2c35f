"""What a long wait reports: a log without a terminal has a line at least every 5 seconds."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from conductor.change.progress import REPEAT_SECONDS, drain_reporter, text_reporter
from conductor.output.events import DrainProgress, Event, Progress, StepStarted
from conductor.output.printers import LinePrinter
from conductor.traffic.port import Draining
from tests.fakes.runtime import FakeClock

POLL_SECONDS = 0.25
MOST_SECONDS = 5.0  # between two lines


class Lines:
    """A stream that records when each line is written."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.times: list[float] = []

    def write(self, _text: str) -> None:
        self.times.append(self._clock.monotonic())

    def flush(self) -> None:
        pass


@pytest.mark.parametrize(
    "text",
    [
        lambda _now: "1 of 2 healthy",
        lambda now: f"{now} seconds",
        lambda now: "0 of 2" if now < 1 else "1 of 2",
        lambda now: f"{now // 2} of 9",
        lambda now: f"{now // 6} of 9",
    ],
    ids=["unchanged", "always", "once", "every-2s", "every-6s"],
)
def test_a_log_has_a_line_at_least_every_few_seconds(text: Callable[[float], str]) -> None:
    clock = FakeClock()
    lines: Any = Lines(clock)
    printer = LinePrinter(lines, clock.monotonic)
    printer.emit(StepStarted(step="gate", text="wait"))
    report = text_reporter(printer, clock, "gate")
    while clock.monotonic() < 60:
        report(text(clock.monotonic()))
        clock.advance(POLL_SECONDS)
    gaps = [later - before for before, later in itertools.pairwise([*lines.times, clock.monotonic()])]
    assert max(gaps) <= MOST_SECONDS
    assert len(gaps) < 25


class Events:
    def __init__(self) -> None:
        self.found: list[Event] = []

    def emit(self, event: Event) -> None:
        self.found.append(event)


def test_a_text_is_reported_when_it_is_new_and_then_now_and_then() -> None:
    clock, events = FakeClock(), Events()
    report = text_reporter(events, clock, "pull")
    for text, seconds in (("a", 0.0), ("a", 0.1), ("b", 0.1), ("b", REPEAT_SECONDS), ("b", 0.1)):
        clock.advance(seconds)
        report(text)
    assert events.found == [Progress(step="pull", text=text) for text in ("a", "b", "b")]


def test_a_drain_is_an_event_with_numbers() -> None:
    events = Events()
    now = Draining(requests=2, connections=1, workers=1, seconds_left=27.0)
    drain_reporter(events, FakeClock())(now)
    assert events.found == [DrainProgress(step="drain", text=str(now), requests=2, connections=1, seconds_left=27.0)]
