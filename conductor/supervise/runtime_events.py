"""Events of the runtime. They only make passes run sooner: the next pass sees what a lost event was about."""

import contextlib
import threading
from collections.abc import Callable, Container, Iterable
from typing import TypeVar

from conductor.runtime.port import ContainerEvent
from conductor.supervise.observe import ExitedReplicas

RETRY_SECONDS = 1.0  # between two streams; one that failed sooner, without an event, was never open


T = TypeVar("T")


def follow(
    events: Callable[[], Iterable[T]],
    handle: Callable[[T], None],
    lost: Callable[[], None],
    ended: threading.Event,
    monotonic: Callable[[], float],
) -> None:
    """Call `handle` for each of the `events`, in a thread, until `ended` is set. A stream that ends is opened again.

    `lost` is called when an open stream ends: events may be missing, and Docker may have restarted.
    """

    def run() -> None:
        while not ended.is_set():
            began, was_open = monotonic(), False
            with contextlib.suppress(Exception):  # after any failure, the next stream may work
                for event in events():
                    was_open = True
                    handle(event)
                was_open = True  # the end of a stream that could not be opened is an error
            if was_open or monotonic() - began >= RETRY_SECONDS:
                lost()
            ended.wait(RETRY_SECONDS)

    threading.Thread(target=run, name="events", daemon=True).start()


class EventHandler:
    """Reacts to an event: a replica that exits unexpectedly causes a pass at once, any other event one within a second."""

    def __init__(
        self,
        exited: ExitedReplicas,
        in_progress: Container[str],
        wake: Callable[[], None],
        wake_now: Callable[[], None],
    ) -> None:
        self._exited = exited
        self._in_progress = in_progress
        self._wake = wake
        self._wake_now = wake_now

    def handle(self, event: ContainerEvent) -> None:
        """Handle one event. Replicas of a service with an action in progress are expected to exit."""
        unexpected = event.fewer and event.service not in self._in_progress
        if event.exited and unexpected:
            self._exited.add(event.container, event.exit_code)
        else:
            self._exited.discard(event.container)
        if unexpected:
            self._wake_now()
        else:
            self._wake()
