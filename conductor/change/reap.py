"""Tasks whose `conductor run` is gone: their end is written down and they are removed once they have ended."""

import contextlib

from conductor.change.doors import Doors
from conductor.errors import ConductorError
from conductor.plan.values import Container

TASKS = {"task", "cron", "console"}
KEEP_SECONDS = 60.0  # by then the `conductor run` that still lives has removed its own


def reap(doors: Doors, service: str) -> None:
    """Look at the tasks of one service. What cannot be done now is done another time."""
    with contextlib.suppress(ConductorError):
        for container in doors.engine.containers(service):
            if container.kind in TASKS and not container.running:
                _reap(doors, container)


def _reap(doors: Doors, container: Container) -> None:
    state = doors.engine.inspect(container.id)
    if state is None or state.running or doors.clock.age(state.since) < KEEP_SECONDS:
        return
    how = "was never started" if container.state == "created" else f"{state}, with nobody there to see it"
    doors.store.record(
        {
            "at": state.since, "action": container.kind, "service": container.service, "to": container.revision,
            "container": container.name, "exit_code": state.exit_code, "outcome": how,
        }
    )  # fmt: skip
    doors.engine.remove(container.id)
