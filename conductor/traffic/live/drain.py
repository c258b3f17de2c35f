"""The drain of a live cutover: no request is in progress in an old replica."""

from collections.abc import Callable, Collection
from math import ceil

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.traffic.live.dictionary import Dictionary, InFlight, with_connection
from conductor.traffic.port import Draining
from conductor.traffic.processes import Worker

FIRST_POLL_SECONDS = 0.005
LONGEST_POLL_SECONDS = 0.2
LOST_SECONDS = 1.0  # after this time, requests without a connection are not waited for


def wait_for_requests(
    dictionary: Dictionary,
    endpoints: Collection[str],
    others: Collection[Worker],
    has_master: Callable[[], bool],
    *,
    seconds: float,
    clock: Clock,
    cancellation: Cancellation,
    progress: Callable[[Draining], None],
) -> int | None:
    """Wait until no worker but `others` has a request to one of `endpoints` in progress, at most `seconds`; return how many have,
    or None if nginx does not say.

    A count without a connection, twice in a row, is lost, or the response is being sent to a slow client.
    """
    began, pause, lost = clock.monotonic(), FIRST_POLL_SECONDS, 0
    while True:
        waited = clock.monotonic() - began
        found = dictionary.requests()
        if found is None and not has_master():
            return 0  # nginx was killed, and its requests with it
        held = [one for one in found or () if one.address in endpoints and one.worker not in others]
        open_now: list[InFlight] = (
            with_connection(held) if held and (waited > LOST_SECONDS or waited >= seconds) else held
        )
        lost = 0 if open_now else lost + 1
        if found is not None and (not held or lost >= 2):
            return 0
        requests = sum(one.requests for one in open_now)
        if waited >= seconds:
            return None if found is None else requests
        left = ceil(seconds - waited)
        progress(Draining(requests=requests, connections=0, workers=0, seconds_left=left))
        cancellation.wait(pause)
        pause = min(pause * 1.5, LONGEST_POLL_SECONDS)
