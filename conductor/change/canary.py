"""The wait of a canary: new replicas get a share of the requests until the time is over, or until they are promoted."""

from collections.abc import Callable, Mapping
from math import ceil

from conductor.change.context import Context
from conductor.change.service_change import ServiceChange
from conductor.definitions.model import Canary
from conductor.errors import ConductorError
from conductor.plan.canary import Comparison, failure
from conductor.state.promotions import Promotions
from conductor.times import duration_text

POLL_SECONDS = 0.5


def watch(context: Context, canaries: Mapping[ServiceChange, Canary], progress: Callable[[str], None]) -> None:
    """Return when the new replicas of every service may get all requests; raise with the figures when they must not.

    One whose time is over keeps its share, and is compared, until the last one ends; one that was promoted is not.
    """
    promotions = Promotions(context.host.runtime_dir)
    began = context.clock.monotonic()
    compared = dict(canaries)
    while True:
        waited = context.clock.monotonic() - began
        waiting = []
        for one, canary in tuple(compared.items()):
            found = context.traffic.compared(one.service)
            if cause := failure(found, canary):
                raise ConductorError(f"the canary for {one.service} failed: {cause}")
            if promotions.take(one.service, one.journal.change):
                del compared[one]
            elif waited < canary.for_:
                waiting.append(_text(one, canary, found, waited))
        if not waiting:
            return
        progress("; ".join(waiting))
        context.cancellation.wait(POLL_SECONDS)


def _text(one: ServiceChange, canary: Canary, found: Comparison, waited: float) -> str:
    left = duration_text(ceil(canary.for_ - waited))
    figures = f"{found.new.requests} requests to the new replicas, {found.new.errors} failed"
    return f"{left} left, {canary.share.text} of requests for {one.service}: {figures}"
