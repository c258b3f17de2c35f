"""Tasks whose `conductor run` is gone: their end is written down and they are removed once they have ended. One that prints
a crontab goes also when it never ends.
"""

import contextlib

from conductor.change.context import Context
from conductor.errors import ConductorError
from conductor.plan.tasks import GENERATE, GENERATE_SECONDS
from conductor.plan.values import Container

TASKS = {"task", "cron", "console"}
KEEP_SECONDS = 60.0  # by then the `conductor run` that still lives has removed its own


def reapable(container: Container, wall: float) -> bool:
    """Whether it may be time to look at it closely; `wall` is now, in seconds since 1970."""
    if container.kind not in TASKS:
        return False
    endless = container.job == GENERATE and wall - container.created > GENERATE_SECONDS + KEEP_SECONDS
    return endless or not container.running


def reap(context: Context, service: str) -> None:
    """Look at the tasks of one service. What cannot be done now is done another time."""
    with contextlib.suppress(ConductorError):
        for container in context.runtime.containers(service):
            if reapable(container, context.clock.wall()):
                _reap(context, container)


def _reap(context: Context, container: Container) -> None:
    state = context.runtime.inspect(container.id)
    if state is None or state.running != container.running or context.clock.age(state.since) < KEEP_SECONDS:
        return
    how = f"{state}, with nobody there to see it"
    if state.running or container.state == "created":
        how = "never ended" if state.running else "was never started"
    context.store.record(
        {
            "at": state.since, "action": container.kind, "service": container.service, "to": container.revision,
            "container": container.name, "exit_code": state.exit_code, "outcome": how,
        }
    )  # fmt: skip
    context.runtime.remove(container.id)
