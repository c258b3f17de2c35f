"""Removes the containers of tasks whose `conductor run` was killed, and records in the history how they ended.

A container that prints a crontab is also removed if it is still running after its time limit.
"""

import contextlib

from conductor.change.context import Context
from conductor.errors import ConductorError
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.replica import TaskContainer
from conductor.plan.tasks import GENERATE, GENERATE_SECONDS

KEEP_SECONDS = 60.0  # a `conductor run` that was not killed has removed its container by then


def is_due(container: TaskContainer, wall: float) -> bool:
    """True when a container may have to be removed. `wall` is the time now, in seconds since 1970."""
    if container.kind == "hook":
        return False
    overdue = container.job == GENERATE and wall - container.created > GENERATE_SECONDS + KEEP_SECONDS
    return overdue or not container.running


def clean_up_tasks(context: Context, service: str) -> None:
    """Remove the tasks of one service that are due. A removal that fails is tried again later."""
    with contextlib.suppress(ConductorError):
        for container in context.runtime.containers(service).tasks:
            if is_due(container, context.clock.wall()):
                _clean_up(context, container)


def _clean_up(context: Context, container: TaskContainer) -> None:
    state = context.runtime.inspect(container.id)
    if state is None or state.running != container.running or context.clock.age(state.since) < KEEP_SECONDS:
        return
    outcome = Outcome.OVERDUE if state.running else Outcome.UNATTENDED
    if container.state == "created":
        outcome = Outcome.NEVER_STARTED
    context.history.append(
        HistoryEntry(
            at=state.since, service=container.service, action=container.kind, outcome=outcome, to=container.revision,
            container=container.name, exit_code=state.exit_code,
        )
    )  # fmt: skip
    context.runtime.remove(container.id)
