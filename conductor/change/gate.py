"""Step 5: each new container must pass its checks in a row, through the very address nginx will use."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import msgspec

from conductor.change.context import Context
from conductor.definitions.model import Health
from conductor.errors import ConductorError
from conductor.plan import health_rules
from conductor.plan.values import Attempt, Container, ContainerState

LOOK_SECONDS = 0.2  # how often the daemon is asked whether a silent container still runs
CHECK_SIGNALS_SECONDS = 0.05
LOG_LINES = 20


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A container at the gate: how it is checked, and how what it says is made safe to tell."""

    container: Container
    health: Health
    redact: Callable[[str], str]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """How the gate ended for one container; `state` is what the daemon said last."""

    candidate: Candidate
    healthy: bool
    seconds: float
    attempts: tuple[str, ...]
    state: ContainerState | None


class Gate:
    """Asks all candidates side by side; the first that fails ends the waiting for all."""

    def __init__(self, context: Context, candidates: Sequence[Candidate]) -> None:
        self._context = context
        self._candidates = candidates
        self._over = threading.Event()
        self._seen: dict[str, str] = {}

    def pass_all(self, waiting: Callable[[str], None]) -> None:
        """Return when all are healthy; else raise with what is known of each one."""
        if not self._candidates:
            return
        pool = ThreadPoolExecutor(len(self._candidates))
        futures = {pool.submit(self._one, candidate) for candidate in self._candidates}
        try:
            verdicts = self._await(futures, waiting)
        finally:
            self._over.set()
            pool.shutdown(wait=False)  # a check that is never answered keeps nobody who is interrupted
        if not all(v.healthy for v in verdicts):
            raise self._failure(verdicts)

    def _await(self, futures: set[Future[Verdict]], waiting: Callable[[str], None]) -> list[Verdict]:
        pending = set(futures)
        while pending:
            done, pending = wait(pending, CHECK_SIGNALS_SECONDS, FIRST_COMPLETED)
            self._context.clock.check()
            if any(not f.result().healthy for f in done):
                self._over.set()
            latest = "; ".join(sorted(set(self._seen.values()))[:2])
            healthy = sum(f.result().healthy for f in futures - pending)
            waiting(f"{healthy} of {len(futures)} healthy" + (f" ({latest})" if latest else ""))
        return sorted((f.result() for f in futures), key=lambda v: v.candidate.container.name)

    def _one(self, candidate: Candidate) -> Verdict:
        clock, health, container = self._context.clock, candidate.health, candidate.container
        began = looked = clock.monotonic()
        attempts: list[Attempt] = []
        state: ContainerState | None = None
        healthy = False
        while (elapsed := clock.monotonic() - began) < health_rules.budget(health) and not self._over.is_set():
            attempts.append(self._context.health.check(container, health, candidate.redact))
            self._seen[container.id] = str(attempts[-1])
            healthy = health_rules.passed(health, attempts, clock.monotonic() - began)
            if not attempts[-1].ok and clock.monotonic() - looked >= LOOK_SECONDS:
                looked = clock.monotonic()
                state = self._look(container)
            if healthy or (state is not None and not state.running):
                break
            self._over.wait(health_rules.interval(health, elapsed))
        said = tuple(health_rules.summary(attempts))
        seconds = clock.monotonic() - began
        return Verdict(candidate=candidate, healthy=healthy, seconds=seconds, attempts=said, state=state)

    def _look(self, container: Container) -> ContainerState | None:
        try:
            return self._context.runtime.inspect(container.id)
        except ConductorError:
            return None  # unknown is not dead: the budget decides

    def _failure(self, verdicts: list[Verdict]) -> ConductorError:
        bad = [v for v in verdicts if not v.healthy]
        exited = next((v for v in bad if v.state is not None and not v.state.running), None)
        first = exited or max(bad, key=lambda v: v.seconds)
        last = first.attempts[-1] if first.attempts else "not asked yet"
        why = str(first.state) if exited else f"after {first.seconds:.1f}s: {last}"
        details = [line for verdict in verdicts for line in self._explain(verdict)]
        sentence = f"the new containers did not become healthy: {first.candidate.container.name} {why}"
        return ConductorError(sentence, "", tuple(details))

    def _explain(self, verdict: Verdict) -> list[str]:
        container, health, redact = verdict.candidate.container, verdict.candidate.health, verdict.candidate.redact
        state = self._look(container) or verdict.state
        head = "healthy" if verdict.healthy else f"not healthy after {verdict.seconds:.1f}s"
        lines = [f"{container.name} at {container.address}: {head}; {state or 'state unknown'}"]
        if verdict.healthy:
            return lines
        asked = f"check {health.path}" if health.path else "check"
        lines += [f"  {asked}: {text}" for text in verdict.attempts]
        try:
            log = self._context.runtime.logs(container.id, LOG_LINES)
        except ConductorError as error:
            return [*lines, f"  {error.sentence}"]
        said = [f"    {redact(text)}" for text in log]
        return lines + (["  last log lines:", *said] if said else ["  it logged nothing"])
