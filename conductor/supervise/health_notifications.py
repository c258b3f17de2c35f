"""Notifications about the health of services: `unhealthy` and `backing-off` once each, and `healed` once after them.

A condition is stored before its notification is delivered, so that a restart of `supervise` does not report it again. After
a reboot, conditions that still hold are reported again.
"""

from collections.abc import Callable, Iterator, Mapping

from conductor.clock import Clock, seconds_between
from conductor.definitions.host import NotifyEvent
from conductor.errors import ConductorError
from conductor.notify.history import host_name
from conductor.plan.backoff import RetryState
from conductor.plan.notification import (
    BACKING_OFF_ATTEMPTS,
    Notification,
    ReportableCondition,
    Reported,
    attempts,
    is_healed,
    is_unhealthy,
)
from conductor.plan.reason import describe
from conductor.plan.reconcile import Condition, Decision, Observation, mismatch
from conductor.state.notifications import NotificationRecords
from conductor.supervise.log import SupervisorLog

SUBJECT = "health notifications"  # in the log; no service id contains a space


class HealthNotifications:
    """Compares the conditions of each pass with the reported ones.

    `put` begins a delivery, `configured` returns whether anybody is notified about a service. `answers` returns the condition and the failed answer of each replica. `boot` is the boot of the
    host.
    """

    def __init__(
        self,
        *,
        records: NotificationRecords,
        clock: Clock,
        log: SupervisorLog,
        put: Callable[[Notification], None],
        answers: Callable[[], Mapping[str, tuple[Condition, str]]],
        boot: str,
        configured: Callable[[str], bool],
    ) -> None:
        self._records = records
        self._clock = clock
        self._log = log
        self._put = put
        self._answers = answers
        self._boot = boot
        self._configured = configured
        self._reported: dict[str, dict[ReportableCondition, Reported]] = {}
        try:
            self._reported = records.reported()
        except ConductorError as error:
            log.failed(SUBJECT, error)

    def observe(self, observation: Observation, decision: Decision, state: RetryState) -> None:
        """Send a notification for each condition that began or ended. `decision` and `state` are those of the same pass.

        Nothing is reported about a paused service. No `healed` follows for a service that is stopped or scaled to 0.
        """
        service, now = observation.wanted.service, self._clock.now()
        reported = self._reported.get(service, {})
        if observation.paused is not None:
            return
        if not observation.count:
            self._keep(service, {})
        elif reported and is_healed(observation, state, self._clock.monotonic()):
            self._keep(service, {})
            since = min(one.since for one in reported.values())
            self._notify(observation, "healed", now, duration=round(seconds_between(since, now), 3))
        else:
            for condition, reason in self._holding(observation, decision, state):
                before = reported.get(condition)
                if (before is None or before.boot != self._boot) and self._configured(service):
                    reported = {**reported, condition: Reported(since=before.since if before else now, boot=self._boot)}
                    self._keep(service, reported)
                    self._notify(observation, condition, now, reason=reason)

    def _holding(
        self, observation: Observation, decision: Decision, state: RetryState
    ) -> Iterator[tuple[ReportableCondition, str]]:
        """Yield the conditions that hold, each with its reason."""
        if is_unhealthy(observation):
            yield "unhealthy", describe(mismatch(observation)) + self._first_answer(observation)
        if (count := attempts(decision, state)) >= BACKING_OFF_ATTEMPTS:
            yield "backing-off", f"{describe(decision.reason)}, {count} attempts{self._first_answer(observation)}"

    def _first_answer(self, observation: Observation) -> str:
        """Return the answer of the first unhealthy replica, which is without secrets."""
        answers = self._answers()
        for replica in observation.live(Condition.UNHEALTHY):
            if answer := answers.get(replica.id, (None, ""))[1]:
                return f"; {replica.name}: {answer}"
        return ""

    def _notify(
        self,
        observation: Observation,
        event: NotifyEvent,
        when: str,
        *,
        duration: float | None = None,
        reason: str = "",
    ) -> None:
        self._put(
            Notification(
                event=event, host=host_name(), service=observation.wanted.service, when=when, duration=duration,
                reason=reason or None, wanted=observation.count, healthy=len(observation.live(Condition.HEALTHY)),
            )
        )  # fmt: skip

    def _keep(self, service: str, reported: dict[ReportableCondition, Reported]) -> None:
        """Store which conditions of a service have been reported and are not healed."""
        if reported == self._reported.get(service, {}):
            return
        self._reported = {one: held for one, held in {**self._reported, service: reported}.items() if held}
        try:
            self._records.write_reported(self._reported)
        except ConductorError as error:
            self._log.failed(SUBJECT, error)
        else:
            self._log.recovered(SUBJECT)
