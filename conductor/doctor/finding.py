"""What `conductor doctor` finds, as values."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import msgspec

VERSION = 1  # of the JSON document


class Severity(StrEnum):
    """How bad it is. `ERROR`: requests, repairs, jobs or the next deploy fail. `WARNING`: they may fail later."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One problem: `what` it is, `why` it matters, and the command or sentence that fixes it.

    `check` is an id that stays the same in all versions. `service` is None for a problem of the host.
    """

    severity: Severity
    check: str
    what: str
    why: str
    fix: str
    service: str | None = None

    def describe(self) -> str:
        """Return three lines for people. The answer of an app may have several lines itself."""
        subject = f"{self.service}: " if self.service else ""
        what, why = (" ".join(text.split()) for text in (self.what, self.why))
        return f"{self.severity}  {self.check}  {subject}{what}\n    {why}\n    fix: {self.fix}"


def error(*, check: str, what: str, why: str, fix: str, service: str | None = None) -> Finding:
    """Return a finding because of which something fails now."""
    return Finding(severity=Severity.ERROR, check=check, what=what, why=why, fix=fix, service=service)


def warning(*, check: str, what: str, why: str, fix: str, service: str | None = None) -> Finding:
    """Return a finding because of which something may fail later."""
    return Finding(severity=Severity.WARNING, check=check, what=what, why=why, fix=fix, service=service)


def info(*, check: str, what: str, why: str, fix: str, service: str | None = None) -> Finding:
    """Return a finding that an operator may want to know."""
    return Finding(severity=Severity.INFO, check=check, what=what, why=why, fix=fix, service=service)


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All findings, errors first. `passed` counts the checks that found no error and no warning, `skipped` those that could
    not be made because Docker is not responding."""

    findings: tuple[Finding, ...]
    passed: int
    skipped: int = 0

    @property
    def exit_code(self) -> int:
        """1 with errors, 4 with warnings only, else 0."""
        if self._count(Severity.ERROR):
            return 1
        return 4 if self._count(Severity.WARNING) else 0

    def describe(self) -> str:
        """Return a paragraph for each finding, and a summary as the last line."""
        counts = [_counted(self._count(one), one.value) for one in (Severity.ERROR, Severity.WARNING)]
        skipped = f", {self.skipped} skipped because Docker is not responding" if self.skipped else ""
        summary = f"{', '.join(counts)}; {_counted(self.passed, 'check')} passed{skipped}"
        return "\n\n".join([*(one.describe() for one in self.findings), summary])

    def document(self) -> dict[str, Any]:
        """Return the JSON document."""
        return {"version": VERSION, **msgspec.to_builtins(self)}

    def _count(self, severity: Severity) -> int:
        return sum(one.severity is severity for one in self.findings)


def in_order(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return errors first, then warnings; otherwise in the same order."""
    return tuple(sorted(findings, key=lambda one: list(Severity).index(one.severity)))


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'s' * (number != 1)}"
