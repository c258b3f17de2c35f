"""Publishing the supervisor status: the file for `status` and for the next `supervise`, and a line for systemd."""

import os
from collections.abc import Callable, Mapping
from math import ceil

from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.plan.backoff import RetryState
from conductor.plan.reason import AnyReason, AsWanted, Busy, Unreadable, describe
from conductor.plan.reconcile import Decision, Leave
from conductor.state import files
from conductor.state.supervisor_status import ServiceStatus, SupervisorStatus, status_path
from conductor.supervise.log import SupervisorLog
from conductor.supervise.observe import HostObservation
from conductor.supervise.systemd import notify

SUBJECT = "status file"  # no service id contains a space


class StatusFile:
    """Writes the status when it differs from the one before. `problem` returns what is wrong with the definitions file."""

    def __init__(self, runtime_dir: str, clock: Clock, log: SupervisorLog, problem: Callable[[], str]) -> None:
        self._path = status_path(runtime_dir)
        self._clock = clock
        self._log = log
        self._problem = problem
        self._since = clock.now()
        self._written: SupervisorStatus | None = None
        self._due: dict[str, tuple[float, str]] = {}

    def publish(
        self,
        observed: HostObservation | None,
        decisions: Mapping[str, Decision],
        states: Mapping[str, RetryState],
        waiting_for: str,
    ) -> None:
        """Publish the status after a pass. `waiting_for` is why the pass failed, empty when it did not."""
        services = {}
        problems = observed.problems if observed else {}
        for service, state in states.items():
            decision = decisions.get(service, Leave(Busy()))
            if service in problems:
                services[service] = self._status(service, Unreadable(problems[service].sentence), decision, state)
            elif decision != Leave(AsWanted()) or state.repair.count:
                services[service] = self._status(service, decision.reason, decision, state)
        for service, error in problems.items():
            if service not in services:
                services[service] = self._status(service, Unreadable(error.sentence), Leave(Busy()), RetryState())
        text = f"waiting for Docker: {waiting_for}" if waiting_for else _summary(observed, services)
        self._write(
            SupervisorStatus(
                pid=os.getpid(), since=self._since, text=text, problem=self._problem(), services=services,
                traffic_down=observed is not None and observed.traffic_down,
            )
        )  # fmt: skip

    def _status(self, service: str, reason: AnyReason, decision: Decision, state: RetryState) -> ServiceStatus:
        last = state.repair.last
        return ServiceStatus(
            reason=reason,
            text=describe(reason),
            until=self._until(service, decision),
            attempts=state.repair.count,
            last=None if last is None else ceil(last + self._clock.wall() - self._clock.monotonic()),
            change=state.change,
        )

    def _until(self, service: str, decision: Decision) -> str:
        """Return when an action is due as wall time. It is computed once, so that the status does not change each pass."""
        until = decision.until if isinstance(decision, Leave) else None
        if until is None:
            self._due.pop(service, None)
            return ""
        if self._due.get(service, (None, ""))[0] != until:
            self._due[service] = (until, self._clock.later(until - self._clock.monotonic()))
        return self._due[service][1]

    def _write(self, status: SupervisorStatus) -> None:
        if status == self._written:
            return
        notify(STATUS=status.text)
        try:
            files.write(self._path, status)
        except ConductorError as error:
            self._log.failed(SUBJECT, error)
        else:
            self._written = status
            self._log.recovered(SUBJECT)


def _summary(observed: HostObservation | None, services: Mapping[str, ServiceStatus]) -> str:
    count, running = (len(observed.services), observed.running) if observed else (0, 0)
    waiting = sum(bool(one.until) for one in services.values())
    text = f"{count} service{'s' * (count != 1)}, {running} container{'s' * (running != 1)}"
    return text + (f", {waiting} backing off" if waiting else "")
