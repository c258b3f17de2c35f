"""Publishing the supervisor status: the file for `status` and for the next `supervise`, and a line for systemd."""

import contextlib
import os
from collections.abc import Callable, Mapping
from math import ceil

from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.plan.backoff import RetryState
from conductor.plan.reason import AnyReason, AsWanted, Busy, Unreadable, describe
from conductor.plan.reconcile import Condition, Decision, Leave
from conductor.plan.route import TrafficState
from conductor.state import files
from conductor.state.supervisor_status import ReplicaStatus, ServiceStatus, SupervisorStatus, status_path
from conductor.supervise.log import SupervisorLog
from conductor.supervise.observe import HostObservation
from conductor.supervise.systemd import notify

SUBJECT = "status file"  # no service id contains a space


class StatusFile:
    """Writes the status when it differs from the one before; otherwise it sets the time of the file.

    `problem` returns what is wrong with the definitions file, `health` the condition and the failed answer of each replica.
    """

    def __init__(
        self,
        runtime_dir: str,
        clock: Clock,
        log: SupervisorLog,
        problem: Callable[[], str],
        health: Callable[[], Mapping[str, tuple[Condition, str]]],
    ) -> None:
        self._path = status_path(runtime_dir)
        self._clock = clock
        self._log = log
        self._problem = problem
        self._health = health
        self._since = clock.now()
        self._written: SupervisorStatus | None = None
        self._due: dict[str, tuple[float, str]] = {}

    def publish(
        self,
        observed: HostObservation | None,
        decisions: Mapping[str, Decision],
        states: Mapping[str, RetryState],
        waiting_for: str,
    ) -> SupervisorStatus:
        """Publish and return the status after a pass. `waiting_for` is why the pass failed, empty when it did not."""
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
        traffic = observed.traffic if observed else TrafficState.RUNNING
        text = f"the last pass failed: {waiting_for}" if waiting_for else _summary(observed, services)
        status = SupervisorStatus(
            pid=os.getpid(), since=self._since, text=text, problem=self._problem(), services=services,
            traffic_down=traffic is not TrafficState.RUNNING, traffic=traffic,
            replicas={replica: ReplicaStatus(condition=condition, answer=answer)
                      for replica, (condition, answer) in self._health().items()},
        )  # fmt: skip
        self._write(status)
        return status

    def _status(self, service: str, reason: AnyReason, decision: Decision, state: RetryState) -> ServiceStatus:
        last, clock = state.repair.last, self._clock
        return ServiceStatus(
            reason=reason,
            text=describe(reason),
            until=self._until(service, decision),
            attempts=state.repair.count,
            last_attempt=None if last is None else clock.at(ceil(last + clock.wall() - clock.monotonic())),
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
            with contextlib.suppress(OSError):  # readers do not use an old file
                os.utime(self._path, follow_symlinks=False)
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
