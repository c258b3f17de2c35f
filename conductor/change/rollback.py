"""Rolling back a change that is not committed: the same code for a failure, a signal and a recovery."""

from conductor.change.hooks import remove_hooks
from conductor.change.service_change import ServiceChange
from conductor.change.steps import ChangeSteps
from conductor.plan.history import Outcome

DRAINED_GRACE_SECONDS = 5.0  # limit of `stop.grace` for new replicas behind nginx: they had no traffic or are drained


def roll_back(steps: ChangeSteps, outcome: Outcome) -> None:
    """Restore the state before the change. New replicas are removed only after the traffic layer has stopped using them."""
    with steps.context.cancellation.shielded("rolling back; this is not interrupted", yields=True):
        for one in steps.services:
            remove_hooks(one)
        steps.undo_replace()
        steps.undo_cutover()
        steps.remove_new([(one, _grace(one)) for one in steps.services])
        steps.end(outcome)


def _grace(one: ServiceChange) -> float:
    """Return the grace of new replicas in seconds. Without nginx they take work, such as jobs, as soon as they run."""
    grace = one.definition.service.stop.grace
    return grace if one.definition.service.nginx is None else min(grace, DRAINED_GRACE_SECONDS)
