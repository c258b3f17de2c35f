"""The gate: each new replica must pass its checks in a row, through the endpoint that nginx will use."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import msgspec

from conductor.change.context import Context
from conductor.definitions.model import Health
from conductor.errors import ConductorError
from conductor.plan import health_rules
from conductor.plan.replica import CheckResult, ContainerState, Replica

INSPECT_SECONDS = 0.2  # between two inspections of a replica that fails its checks
POLL_SECONDS = 0.05
LOG_LINES = 20


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A replica at the gate, its health check, and the function that removes its secrets from a text."""

    replica: Replica
    health: Health
    redact: Callable[[str], str]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How the gate ended for one replica. `answers` are its last answers, `state` is its last known state."""

    candidate: Candidate
    healthy: bool
    seconds: float
    answers: tuple[str, ...]
    state: ContainerState | None


class GateFailed(ConductorError):  # noqa: N818 (an expected outcome of a deploy)
    """At least one new replica did not become healthy."""


class Gate:
    """Checks all candidates side by side. The first failure ends the wait."""

    def __init__(self, context: Context, candidates: Sequence[Candidate]) -> None:
        self._context = context
        self._candidates = candidates
        self._over = threading.Event()
        self._latest: dict[str, str] = {}

    def wait(self, progress: Callable[[str], None]) -> None:
        """Return when all are healthy; raise `GateFailed` with what is known of each one."""
        if not self._candidates:
            return
        pool = ThreadPoolExecutor(len(self._candidates))
        futures = {pool.submit(self._check, candidate) for candidate in self._candidates}
        try:
            verdicts = self._collect(futures, progress)
        finally:
            self._over.set()
            pool.shutdown(wait=False)  # a check that hangs must not delay an interruption
        if not all(verdict.healthy for verdict in verdicts):
            raise self._failure(verdicts)

    def _collect(self, futures: set[Future[Verdict]], progress: Callable[[str], None]) -> list[Verdict]:
        pending = set(futures)
        while pending:
            done, pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
            self._context.cancellation.check()
            if any(not future.result().healthy for future in done):
                self._over.set()
            latest = "; ".join(sorted(set(self._latest.values()))[:2])
            healthy = sum(future.result().healthy for future in futures - pending)
            progress(f"{healthy} of {len(futures)} healthy" + (f" ({latest})" if latest else ""))
        return sorted((future.result() for future in futures), key=lambda verdict: verdict.candidate.replica.name)

    def _check(self, candidate: Candidate) -> Verdict:
        clock, health, replica = self._context.clock, candidate.health, candidate.replica
        began = inspected = clock.monotonic()
        results: list[CheckResult] = []
        state: ContainerState | None = None
        healthy = False
        while (elapsed := clock.monotonic() - began) < health_rules.start_timeout(health) and not self._over.is_set():
            results.append(self._context.health.check(replica, health, candidate.redact))
            self._latest[replica.id] = str(results[-1])
            healthy = health_rules.passed(health, results, clock.monotonic() - began)
            if not results[-1].ok and clock.monotonic() - inspected >= INSPECT_SECONDS:
                inspected = clock.monotonic()
                state = self._inspect(replica)
            if healthy or (state is not None and not state.running):
                break
            self._over.wait(health_rules.interval(health, elapsed))
        answers = tuple(health_rules.summary(results))
        seconds = clock.monotonic() - began
        return Verdict(candidate=candidate, healthy=healthy, seconds=seconds, answers=answers, state=state)

    def _inspect(self, replica: Replica) -> ContainerState | None:
        try:
            return self._context.runtime.inspect(replica.id)
        except ConductorError:
            return None  # an unknown state is not an exit: the start timeout decides

    def _failure(self, verdicts: list[Verdict]) -> GateFailed:
        bad = [verdict for verdict in verdicts if not verdict.healthy]
        exited = next((one for one in bad if one.state is not None and not one.state.running), None)
        first = exited or max(bad, key=lambda verdict: verdict.seconds)
        last = first.answers[-1] if first.answers else "no check was made"
        cause = str(first.state) if exited else f"was not healthy after {first.seconds:.1f}s: {last}"
        details = tuple(line for verdict in verdicts for line in self._describe(verdict))
        return GateFailed(f"{first.candidate.replica.name} {cause}", "", details)

    def _describe(self, verdict: Verdict) -> list[str]:
        replica, health, redact = verdict.candidate.replica, verdict.candidate.health, verdict.candidate.redact
        state = self._inspect(replica) or verdict.state
        outcome = "healthy" if verdict.healthy else f"not healthy after {verdict.seconds:.1f}s"
        lines = [f"{replica.name} at {replica.address}: {outcome}; {state or 'its state is unknown'}"]
        if verdict.healthy:
            return lines
        check = f"check {health.path}" if health.path else "check"
        lines += [f"  {check}: {text}" for text in verdict.answers]
        try:
            log = self._context.runtime.logs(replica.id, LOG_LINES)
        except ConductorError as error:
            return [*lines, f"  {error.sentence}"]
        output = [f"    {redact(text)}" for text in log]
        return lines + (["  last log lines:", *output] if output else ["  its log is empty"])
