"""One health check of one container, in whichever of the four ways its definition asks for."""

from conductor.change.doors import Doors
from conductor.definitions.model import Health
from conductor.errors import ConductorError
from conductor.plan.values import Attempt, Container


def check(doors: Doors, container: Container, health: Health) -> Attempt:
    """Over the network, inside the container, or just whether it runs."""
    if health.command:
        return doors.engine.execute(container.id, health.command, health.timeout)
    if not health.none:
        return doors.probe(container.address, health)
    try:
        state = doors.engine.inspect(container.id)
    except ConductorError as error:
        return Attempt(ok=False, seconds=0.0, error=error.sentence)
    return Attempt(ok=state is not None and state.running, seconds=0.0, error=str(state or "gone"))
