"""What `supervise` and commands remember of notifications, in the state directory: reported conditions and failed deliveries."""

import contextlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from conductor.errors import ConductorError
from conductor.plan.notification import DeliveryFailure, ReportableCondition, Reported
from conductor.state import files


class _AllReported(msgspec.Struct, frozen=True, kw_only=True):
    services: dict[str, dict[ReportableCondition, Reported]]
    version: int = 1


class NotificationRecords:
    """The files of one host. A command that sends no notification does not import this module."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def reported(self) -> dict[str, dict[ReportableCondition, Reported]]:
        """Return, by service, the conditions that `supervise` has reported and that are not healed."""
        path = self._directory / "reported.json"
        found = files.read(path, _AllReported, repair=f"run rm {path}: supervise recreates it, and reports again")
        return found.services if found else {}

    def write_reported(self, reported: Mapping[str, dict[ReportableCondition, Reported]]) -> None:
        """Replace `reported.json`."""
        files.write_in(self._directory, self._directory / "reported.json", _AllReported(services=dict(reported)))

    def delivery_failure(self, service: str) -> DeliveryFailure | None:
        """Return the latest deliveries of notifications about a service if they failed."""
        path = self._delivery(service)
        return files.read(path, DeliveryFailure, repair=f"run rm {path}: the next failed delivery recreates it")

    def record_delivery(self, service: str, at: str, problem: str) -> None:
        """Count a failed delivery. Without a `problem`, end the count."""
        path = self._delivery(service)
        if problem:
            before = None
            with contextlib.suppress(ConductorError):  # a damaged count starts again
                before = self.delivery_failure(service)
            failures = 1 + (before.failures if before else 0)
            files.write_in(self._directory, path, DeliveryFailure(failures=failures, at=at, problem=problem))
        elif path.exists():
            files.remove(path)

    def _delivery(self, service: str) -> Path:
        return self._directory / "notify" / f"{service}.json"
