"""One health check of one container, in whichever of the four ways its definition asks for."""

from collections.abc import Callable

import msgspec

from conductor.change.doors import Doors
from conductor.definitions.model import Health
from conductor.errors import ConductorError
from conductor.plan.values import Attempt, Container

SHOWN_CHARACTERS = 200  # of what was answered, for the operator


def check(doors: Doors, container: Container, health: Health, redact: Callable[[str], str]) -> Attempt:
    """Over the network, inside the container, or just whether it runs; without secrets in what was answered.

    Taken out first, then cut: the head of a body may end, and the last output begin, in the middle of one.
    """
    attempt = _check(doors, container, health)
    head = redact(attempt.head)
    head = head[-SHOWN_CHARACTERS:] if attempt.status is None else head[:SHOWN_CHARACTERS]
    return msgspec.structs.replace(attempt, head=head, error=redact(attempt.error))


def _check(doors: Doors, container: Container, health: Health) -> Attempt:
    if health.command:
        return doors.engine.execute(container.id, health.command, health.timeout)
    if not health.none:
        return doors.probe(container.address, health)
    try:
        state = doors.engine.inspect(container.id)
    except ConductorError as error:
        return Attempt(ok=False, seconds=0.0, error=error.sentence, unknown=True)
    return Attempt(ok=state is not None and state.running, seconds=0.0, error=str(state or "gone"))
