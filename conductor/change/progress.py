"""Reports what a step is waiting for, again and again while nothing changes: without that, silence looks like a hang."""

from collections.abc import Callable

from conductor.clock import Clock
from conductor.output.events import DrainProgress, Progress
from conductor.output.printers import Output
from conductor.traffic.port import Draining

REPEAT_SECONDS = 1.5  # with the printer's PROGRESS_SECONDS and the slowest poll, a log has a line at least every 5 s


def reporter(output: Output, clock: Clock) -> Callable[[Progress], None]:
    """Return a function that emits a new event at once, and the same one now and then."""
    last: Progress | None = None
    at = 0.0

    def report(event: Progress) -> None:
        nonlocal last, at
        now = clock.monotonic()
        if event != last or now - at >= REPEAT_SECONDS:
            last, at = event, now
            output.emit(event)

    return report


def text_reporter(output: Output, clock: Clock, step: str) -> Callable[[str], None]:
    """Return a function that reports texts about `step`."""
    report = reporter(output, clock)
    return lambda text: report(Progress(step=step, text=text))


def drain_reporter(output: Output, clock: Clock) -> Callable[[Draining], None]:
    """Return a function that reports what a drain is waiting for."""
    report = reporter(output, clock)

    def progress(now: Draining) -> None:
        event = DrainProgress(
            step="drain", text=str(now), requests=now.requests, connections=now.connections,
            seconds_left=now.seconds_left,
        )  # fmt: skip
        report(event)

    return progress
