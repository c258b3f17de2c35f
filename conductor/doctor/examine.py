"""Runs all checks in parallel, within one deadline. A check that fails is a finding, and does not hide others."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from conductor.doctor import docker, fleet, host, nginx, services
from conductor.doctor.examination import Examination
from conductor.doctor.finding import Finding, Report, Severity, error, in_order
from conductor.errors import ConductorError, is_denied
from conductor.runtime.port import RuntimeDenied, RuntimeUnavailable
from conductor.times import duration_text

Check = Callable[[Examination], Iterable[Finding]]

CHECKS: tuple[Check, ...] = (*docker.CHECKS, *nginx.CHECKS, *host.CHECKS, *services.CHECKS, *fleet.CHECKS)
DEADLINE_SECONDS = 20.0


class CheckLate(ConductorError):  # noqa: N818 (a result, never raised)
    """The check did not end in time."""


NEED_DOCKER = (RuntimeUnavailable, RuntimeDenied, CheckLate)  # errors of a check while Docker is not responding


class Result(NamedTuple):
    """What a check found, and the error that ended it, if any."""

    name: str
    findings: tuple[Finding, ...]
    error: Exception | None

    @property
    def passed(self) -> bool:
        """True when the check found no error and no warning."""
        return self.error is None and all(one.severity is Severity.INFO for one in self.findings)


class _Made:
    """One check in a thread of its own."""

    def __init__(self, check: Check, examination: Examination) -> None:
        self._check = check
        self._examination = examination
        self._found: list[Finding] = []
        self._error: Exception | None = None
        self.thread = threading.Thread(target=self._make, daemon=True)

    def _make(self) -> None:
        try:
            for finding in self._check(self._examination):
                self._found.append(finding)
        except Exception as raised:  # noqa: BLE001 (a failed check is a finding)
            self._error = raised

    def result(self, deadline_seconds: float) -> Result:
        """Return the result so far."""
        name = f"{self._check.__module__.rpartition('.')[2]}.{self._check.__name__}"
        if not self.thread.is_alive():
            return Result(name, tuple(self._found), self._error)
        if self._check is docker.reachable:
            return Result(
                name, (docker.unreachable(f"Docker did not respond within {duration_text(deadline_seconds)}"),), None
            )
        return Result(
            name, tuple(self._found), CheckLate(f"it did not finish within {duration_text(deadline_seconds)}")
        )


def examine(
    examination: Examination, checks: Sequence[Check] = CHECKS, deadline_seconds: float = DEADLINE_SECONDS
) -> Report:
    """Return what the checks find."""
    made = [_Made(check, examination) for check in checks]
    for one in made:
        one.thread.start()
    clock = examination.context.clock
    until = clock.monotonic() + deadline_seconds
    for one in made:
        one.thread.join(max(0.0, until - clock.monotonic()))
    results = [one.result(deadline_seconds) for one in made]
    findings = [finding for one in results for finding in one.findings]
    without_docker = any(finding.check in {docker.UNREACHABLE, "fleet-manager"} for finding in findings)
    skipped = [one for one in results if without_docker and isinstance(one.error, NEED_DOCKER)]
    not_root = [one for one in results if not examination.is_root and is_denied(one.error)]  # `host.caller` reports it
    findings += _failures(one for one in results if one not in [*skipped, *not_root])
    return Report(
        findings=in_order(findings), passed=sum(one.passed for one in results), skipped=len(skipped)
    )  # fmt: skip


def _failures(results: Iterable[Result]) -> Iterator[Finding]:
    """Yield a finding for each check that failed."""
    for name, _, raised in results:
        if raised is not None:
            hint = raised.hint if isinstance(raised, ConductorError) else ""
            yield error(
                check="check-failed",
                what=f"cannot run the check {name}: {_cause(raised)}",
                why="problems that this check would detect are not reported",
                fix=hint or "fix the cause, then run conductor doctor again",
            )


def _cause(raised: Exception) -> str:
    """Return the cause as text. The text of a bug's exception may contain a secret."""
    match raised:
        case ConductorError():
            return raised.sentence
        case OSError():
            return raised.strerror or type(raised).__name__
        case _:
            return f"a bug in Conductor ({type(raised).__name__})"
