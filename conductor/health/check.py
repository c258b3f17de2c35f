"""One health check of one replica, in whichever of the four ways its definition asks for."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from conductor.definitions.model import Health
from conductor.errors import ConductorError
from conductor.health.probe import probe
from conductor.plan.replica import CheckResult as Attempt, Replica as Container
from conductor.runtime.port import Runtime

SHOWN_CHARACTERS = 200  # of an answer, for the operator


class HealthChecker(Protocol):
    """Makes health checks."""

    def check(self, container: Container, health: Health, redact: Callable[[str], str]) -> Attempt:
        """Make one check, within `health.timeout`; secrets are removed from the answer by `redact`."""


class HealthChecks:
    """Implements `HealthChecker`: over the network, inside the container, or by whether it runs."""

    def __init__(self, runtime: Runtime, probe: Callable[[str, Health], Attempt] = probe) -> None:
        self._runtime = runtime
        self._probe = probe

    def check(self, container: Container, health: Health, redact: Callable[[str], str]) -> Attempt:
        """Remove secrets first, then shorten: the first or last character shown may be in the middle of one."""
        attempt = self._check(container, health)
        head = redact(attempt.head)
        head = head[-SHOWN_CHARACTERS:] if attempt.status is None else head[:SHOWN_CHARACTERS]
        return msgspec.structs.replace(attempt, head=head, error=redact(attempt.error))

    def _check(self, container: Container, health: Health) -> Attempt:
        if health.command:
            return self._runtime.execute(container.id, health.command, health.timeout)
        if not health.none:
            return self._probe(container.address, health)
        try:
            state = self._runtime.inspect(container.id)
        except ConductorError as error:
            return Attempt(ok=False, seconds=0.0, error=error.sentence, unknown=True)
        return Attempt(ok=state is not None and state.running, seconds=0.0, error=str(state or "gone"))
