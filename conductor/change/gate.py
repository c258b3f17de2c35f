"""The gate: each new replica must pass its checks in a row, through the endpoint that nginx will use.

A replica that passed is watched until the last one has passed, and checked once more right before it gets traffic.
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import msgspec

from conductor.change.context import Context
from conductor.definitions.model import Health
from conductor.errors import ConductorError
from conductor.plan import health_rules
from conductor.plan.listening import explanation
from conductor.plan.replica import CheckResult, ContainerState, Replica
from conductor.times import duration_text

INSPECT_SECONDS = 0.2  # between two inspections of a replica that fails its checks
WATCH_SECONDS = 0.5  # between two inspections of all replicas
POLL_SECONDS = 0.05
LOG_LINES = 20
REMOVED = ContainerState(running=False, exit_code=None, out_of_memory=False, address="", error="was removed")


class Candidate(msgspec.Struct, frozen=True):
    """A replica at the gate, its health check, its app's port, and the function that removes its secrets from a text."""

    replica: Replica
    health: Health
    port: int | None
    redact: Callable[[str], str]


class _Attempt(msgspec.Struct, kw_only=True):
    """What is known about one replica so far. `ended` is when it passed or timed out, `state` its last known state, which was
    read at `inspected`."""

    candidate: Candidate
    began: float
    inspected: float
    results: list[CheckResult] = msgspec.field(default_factory=list)
    passed: bool = False
    ended: float | None = None
    state: ContainerState | None = None

    @property
    def exited(self) -> bool:
        """True once it no longer runs, even after it has passed."""
        return self.state is not None and not self.state.running

    @property
    def failed(self) -> bool:
        """True once it cannot pass any more."""
        return self.exited or (self.ended is not None and not self.passed)


class GateFailed(ConductorError):  # noqa: N818 (an expected outcome of a deploy)
    """At least one new replica did not become healthy, or did not stay healthy."""


class Gate:
    """Checks all candidates in parallel. The first failure ends the wait."""

    def __init__(self, context: Context, candidates: Sequence[Candidate]) -> None:
        self._context = context
        began = context.clock.monotonic()
        self._attempts = [_Attempt(candidate=candidate, began=began, inspected=began) for candidate in candidates]
        self._over = threading.Event()

    def wait(self, progress: Callable[[str], None]) -> None:
        """Return when all are healthy; raise `GateFailed` with what is known about each one."""
        self._wait(self._check, progress)

    def check_again(self) -> None:
        """Check each replica once more; raise `GateFailed` unless all pass.

        A check that cannot be made counts as passed, unless the replica has exited: no health command starts in it then.
        """
        self._wait(self._check_once, lambda _text: None)

    def _wait(self, check: Callable[[_Attempt], None], progress: Callable[[str], None]) -> None:
        if not self._attempts:
            return
        pool = ThreadPoolExecutor(len(self._attempts) + 1)
        pending: set[Future[None]] = {pool.submit(check, one) for one in self._attempts} | {pool.submit(self._watch)}
        try:
            while not all(one.passed for one in self._attempts):
                done, pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
                for future in done:
                    future.result()
                self._context.cancellation.check()
                progress(self._progress())
                if any(one.failed for one in self._attempts):
                    raise self._failure()
        finally:
            self._over.set()
            pool.shutdown(wait=False)  # a check that hangs must not delay an interruption

    def _progress(self) -> str:
        latest = sorted({str(one.results[-1]) for one in self._attempts if one.results})[:2]
        healthy = sum(one.passed for one in self._attempts)
        return f"{healthy} of {len(self._attempts)} healthy" + (f" ({'; '.join(latest)})" if latest else "")

    def _check(self, attempt: _Attempt) -> None:
        """Check until the replica has passed, exited or timed out."""
        clock, health = self._context.clock, attempt.candidate.health
        timeout = health_rules.start_timeout(health)
        while (elapsed := clock.monotonic() - attempt.began) < timeout and not self._over.is_set():
            result = self._check_replica(attempt)
            if not result.ok and clock.monotonic() - attempt.inspected >= INSPECT_SECONDS:
                self._inspect(attempt)
            attempt.passed = health_rules.passed(health, attempt.results, clock.monotonic() - attempt.began)
            if attempt.passed or attempt.exited:
                break
            self._over.wait(health_rules.interval(health, elapsed, result))
        attempt.ended = clock.monotonic()

    def _check_once(self, attempt: _Attempt) -> None:
        result = self._check_replica(attempt)
        if not result.ok:
            self._inspect(attempt)
        attempt.passed = (result.ok or result.unknown) and not attempt.exited
        attempt.ended = self._context.clock.monotonic()

    def _check_replica(self, attempt: _Attempt) -> CheckResult:
        candidate = attempt.candidate
        result = self._context.health.check(candidate.replica, candidate.health, candidate.redact)
        attempt.results.append(result)
        return result

    def _watch(self) -> None:
        """Inspect all replicas: one may exit after it has passed, or during a check with a long timeout."""
        while not self._over.wait(WATCH_SECONDS):
            for one in self._attempts:
                self._inspect(one)

    def _inspect(self, attempt: _Attempt, *, explain: bool = False) -> None:
        runtime, replica = self._context.runtime, attempt.candidate.replica.id
        attempt.inspected = self._context.clock.monotonic()
        with contextlib.suppress(ConductorError):  # an unknown state is not an exit: the start timeout decides
            state = runtime.inspect_exit(replica, wait=True) if explain else runtime.inspect(replica)
            attempt.state = state or REMOVED

    def _failure(self) -> GateFailed:
        now = self._context.clock.monotonic()
        for one in self._attempts:
            self._inspect(one, explain=True)
            one.ended = now if one.ended is None else one.ended
        bad = [one for one in self._attempts if one.failed]
        first = next((one for one in bad if one.exited), None) or max(bad, key=_seconds)
        answers = health_rules.summary(first.results)
        last = answers[-1] if answers else "no health check completed"
        cause = str(first.state) if first.exited else f"was not healthy after {duration_text(_seconds(first))}: {last}"
        details = tuple(line for one in self._attempts for line in self._describe(one))
        replica = first.candidate.replica
        hint = f"conductor service logs --id {replica.service} --release {replica.revision}"
        return GateFailed(f"{replica.name} {cause}", hint, details)

    def _describe(self, attempt: _Attempt) -> list[str]:
        replica, health, redact = attempt.candidate.replica, attempt.candidate.health, attempt.candidate.redact
        outcome = f"not healthy after {duration_text(_seconds(attempt))}" if attempt.failed else "healthy"
        lines = [f"{replica.name} at {replica.address}: {outcome}; {attempt.state or 'its state is unknown'}"]
        if not attempt.failed:
            return lines
        check = f"check {health.path}" if health.path else "check"
        lines += [f"  {check}: {text}" for text in health_rules.summary(attempt.results)]
        lines += [f"  {text}" for text in self._listening(attempt)]
        try:
            log = self._context.runtime.logs(replica.id, LOG_LINES)
        except ConductorError as error:
            return [*lines, f"  {error.sentence}"]
        output = [f"    {redact(text)}" for text in log]
        return lines + (["  last log lines:", *output] if output else ["  its log is empty"])

    def _listening(self, attempt: _Attempt) -> list[str]:
        """Explain a check over the network that got no answer by what the running container listens on."""
        candidate, last = attempt.candidate, attempt.results[-1] if attempt.results else None
        if last is None or last.status is not None or attempt.exited or candidate.port is None:
            return []
        if not (candidate.health.path or candidate.health.tcp):
            return []
        with contextlib.suppress(ConductorError):  # the daemon is not responding: the rest of the failure is shown
            found = self._context.runtime.listeners(candidate.replica.id)
            text = None if found is None else explanation(found, candidate.port, refused=last.refused)
            return [text] if text else []
        return []


def _seconds(attempt: _Attempt) -> float:
    return (attempt.began if attempt.ended is None else attempt.ended) - attempt.began
