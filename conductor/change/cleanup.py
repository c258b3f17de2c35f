"""Removes the containers of tasks whose `conductor run` was killed, and records in the history how they ended.

A task that is still running after its deadline is stopped.
"""

import contextlib

from conductor.change.context import Context
from conductor.errors import ConductorError
from conductor.plan.history import HistoryEntry, Outcome
from conductor.plan.replica import TaskContainer

KEEP_SECONDS = 60.0  # a `conductor run` that was not killed has removed its container by then
STOP_SECONDS = 10.0  # for an overdue task, between its stop signal and SIGKILL


def is_due(container: TaskContainer, wall: float) -> bool:
    """True when a container may have to be removed. `wall` is the time now, in seconds since 1970."""
    if container.kind == "hook":
        return False
    return container.is_overdue(wall - KEEP_SECONDS) or container.state in {"created", "exited", "dead"}


def clean_up_tasks(context: Context, service: str) -> None:
    """Remove the tasks of one service that are due. A removal that fails is tried again later."""
    with contextlib.suppress(ConductorError):
        for container in context.runtime.containers(service).tasks:
            if is_due(container, context.clock.wall()):
                _clean_up(context, container)


def _clean_up(context: Context, container: TaskContainer) -> None:
    state = context.runtime.inspect(container.id)
    overdue = container.is_overdue(context.clock.wall())
    if state is None or state.running is not overdue:  # it ended or started meanwhile
        return
    if overdue:
        with contextlib.suppress(ConductorError):  # if the stop fails, the removal kills the task
            context.runtime.stop(container.id, STOP_SECONDS)
        outcome, at = Outcome.OVERDUE, context.clock.now()
    elif context.clock.age(state.since) >= KEEP_SECONDS:
        outcome, at = Outcome.NEVER_STARTED if container.state == "created" else Outcome.UNATTENDED, state.since
    else:
        return
    context.history.append(
        HistoryEntry(
            at=at, service=container.service, action=container.kind, outcome=outcome, to=container.revision,
            container=container.name, exit_code=state.exit_code,
        )
    )  # fmt: skip
    context.runtime.remove(container.id)
