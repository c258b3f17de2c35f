"""Whether the kernel killed a container for lack of memory, where the state of the container does not show it.

Docker 20.10 sets `OOMKilled` only if the notice of the kernel reaches the daemon before the exit does. Otherwise the flag
stays unset, and only an event follows: in 2 of 30 such containers on a busy host, 0.3 s and 0.9 s after the exit.
"""

from collections.abc import Callable, Iterable
from typing import Any

from conductor.clock import Clock
from conductor.plan.replica import KILLED, ContainerState
from conductor.runtime.docker.background import in_background

EARLY_SECONDS = 5  # before the exit: an older event is about a process whose end was not that of the container
LATE_SECONDS = 2  # after the exit
TICK_SECONDS = 0.1
ANSWER_SECONDS = 2.0  # that the daemon has for an answer


def is_possible(state: ContainerState) -> bool:
    """Return whether the kernel may have killed the container, although its state does not show it."""
    return state.exit_code == KILLED and not state.out_of_memory


def was_reported(
    events: Callable[..., Iterable[dict[str, Any]]], container: str, state: ContainerState, clock: Clock, *, wait: bool
) -> bool:
    """Return whether the daemon has an event of the kill. With `wait`, wait until none can follow; otherwise only for the
    answer of the daemon. `events` is the SDK's call.

    The daemon's clock may differ from this host's, and a clock may be set back: neither makes the wait or the stream longer.
    """
    ended, now = clock.seconds(state.since), clock.wall()
    latest = ended + 1 + LATE_SECONDS  # by the daemon's clock; `ended` has no fraction
    seconds = min(max(0.0, latest - now), 1.0 + LATE_SECONDS) if wait else 0.0
    filters = {"type": "container", "container": container, "event": "oom"}
    until = f"{min(now + seconds, latest):.3f}"
    deadline = clock.monotonic() + seconds + ANSWER_SECONDS
    stream = in_background(
        lambda: events(since=ended - EARLY_SECONDS, until=until, filters=filters, decode=True), TICK_SECONDS
    )
    for event in stream:
        if event is not None or clock.monotonic() >= deadline:
            return event is not None
    return False
