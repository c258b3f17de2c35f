"""Rolling back a change that is not committed: the same code for a failure, a signal and a recovery."""

from conductor.change.hooks import remove_hooks
from conductor.change.service_change import ServiceChange
from conductor.change.steps import ChangeSteps
from conductor.errors import ConductorError
from conductor.output.events import StepFinished, StepStarted
from conductor.plan.history import Outcome
from conductor.plan.journal import noun

DRAINED_GRACE_SECONDS = 5.0  # limit of `stop.grace` for new replicas behind nginx: they had no traffic or are drained


def roll_back(steps: ChangeSteps, outcome: Outcome, cause: str = "") -> None:
    """Restore the state before the change. New replicas are removed only after the traffic layer has stopped using them.

    `cause` is a sentence for the history.
    """
    with steps.context.cancellation.shielded("rolling back; this cannot be interrupted", yields=True):
        began = steps.context.clock.monotonic()
        action = steps.services[0].journal.action
        text = f"roll back the {noun(action, [one.service for one in steps.services])}"
        steps.context.output.emit(StepStarted(step="rollback", text=text))
        for one in steps.services:
            remove_hooks(one)
        steps.undo_replace()
        steps.undo_cutover()
        steps.remove_new([(one, _grace(one)) for one in steps.services])
        _refuse_left_over(steps)
        steps.end(outcome, cause)
        seconds = round(steps.context.clock.monotonic() - began, 3)
        steps.context.output.emit(StepFinished(step="rollback", seconds=seconds))


def _refuse_left_over(steps: ChangeSteps) -> None:
    """Raise when replicas of a first deploy are left. Without a release, only the journal shows that they are not wanted."""
    left = [replica.name for one in steps.services if one.journal.old.release is None for replica in one.new()]
    if left:
        raise ConductorError(f"cannot remove {', '.join(left)}")


def _grace(one: ServiceChange) -> float:
    """Return the grace of new replicas in seconds. Without nginx they take work, such as jobs, as soon as they run."""
    grace = one.definition.service.stop.grace
    return grace if one.definition.service.nginx is None else min(grace, DRAINED_GRACE_SECONDS)
