"""One health check of one replica, of the kind that its definition requires."""

from collections.abc import Callable
from typing import Protocol

import msgspec

from conductor.definitions.model import Health
from conductor.errors import ConductorError
from conductor.health.probe import probe
from conductor.plan import health_rules
from conductor.plan.replica import CheckResult, Replica
from conductor.runtime.port import Runtime

SHOWN_CHARACTERS = 200  # of an answer, for the operator


class HealthChecker(Protocol):
    """Makes health checks."""

    def check(self, replica: Replica, health: Health, redact: Callable[[str], str]) -> CheckResult:
        """Make one check, within `health.timeout`. `redact` removes secrets from the answer."""


class HealthChecks:
    """Implements `HealthChecker`: over the network, inside the container, or by whether the container runs."""

    def __init__(self, runtime: Runtime, probe: Callable[[str, Health], CheckResult] = probe) -> None:
        self._runtime = runtime
        self._probe = probe

    def check(self, replica: Replica, health: Health, redact: Callable[[str], str]) -> CheckResult:
        """Make one check. Secrets are removed before the answer is shortened: a secret that is cut would not be recognised."""
        result = self._check(replica, health)
        if result.ok:
            return result
        output = redact(result.output)
        output = output[-SHOWN_CHARACTERS:] if result.status is None else output[:SHOWN_CHARACTERS]
        return msgspec.structs.replace(result, output=output, error=redact(result.error))

    def _check(self, replica: Replica, health: Health) -> CheckResult:
        if health.command:
            return self._runtime.execute(replica.id, health.command, health.timeout)
        if not health.none:
            address = health_rules.endpoint(replica, health)
            if address is None:
                return CheckResult(ok=False, seconds=0.0, error="the container has no port to check")
            return self._probe(address, health)
        try:
            state = self._runtime.inspect(replica.id)
        except ConductorError as error:
            return CheckResult(ok=False, seconds=0.0, error=error.sentence, unknown=True)
        return CheckResult(
            ok=state is not None and state.running, seconds=0.0, error=str(state or "the container does not exist")
        )
