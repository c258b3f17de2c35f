"""Rolling back a change that is not committed: the same code for a failure, a signal and a recovery."""

from conductor.change.hooks import remove_hooks
from conductor.change.steps import ChangeSteps
from conductor.plan.history import Outcome

NEW_REPLICA_GRACE_SECONDS = 5.0  # limit of `stop.grace` for new replicas: they have failed the gate or are drained


def roll_back(steps: ChangeSteps, outcome: Outcome) -> None:
    """Restore what ran before. New replicas are removed only after the traffic layer has stopped using them."""
    with steps.context.cancellation.shielded("rolling back, one moment"):
        for one in steps.services:
            remove_hooks(one)
        steps.undo_replace()
        steps.undo_cutover()
        for one in steps.services:
            steps.remove_new(one, grace=min(one.definition.service.stop.grace, NEW_REPLICA_GRACE_SECONDS))
        steps.end(outcome)
