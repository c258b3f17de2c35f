"""From one pass to actions: the decision for each service, and its action in a thread."""

import secrets
import zlib
from collections.abc import Callable

import msgspec

from conductor.definitions.load import Definitions
from conductor.plan.backoff import RetryState
from conductor.plan.reconcile import Action, Decision, Leave, Observation, Recover, Start, decide
from conductor.state.supervisor_status import traffic_problem
from conductor.supervise.actions import ActionEnd, Actions, InProgress
from conductor.supervise.crontabs import CrontabFollower
from conductor.supervise.garbage import DailyCollection
from conductor.supervise.health_notifications import SUBJECT as HEALTH_NOTIFICATIONS
from conductor.supervise.health_notifications import HealthNotifications
from conductor.supervise.log import SupervisorLog
from conductor.supervise.observe import HostObservation
from conductor.supervise.retries import Retries
from conductor.supervise.route_loader import RouteLoader
from conductor.supervise.task_cleanup import TaskCleanup
from conductor.traffic.port import TrafficUnavailable

TRAFFIC = "traffic layer"  # in the log; no service id contains a space


class Reconciler:
    """Decides for every observed service. `decisions` are those of the latest pass and of actions in progress.

    `forget_failures` gets each service that is healthy again: the history then records its next failures as new ones.
    `at_rest` is called after each pass that leaves nothing to do.
    """

    def __init__(
        self,
        *,
        monotonic: Callable[[], float],
        log: SupervisorLog,
        retries: Retries,
        forget_failures: Callable[[str], None],
        actions: Actions,
        in_progress: InProgress,
        route_loader: RouteLoader,
        task_cleanup: TaskCleanup,
        crontabs: CrontabFollower,
        definitions: Callable[[], Definitions],
        garbage: DailyCollection,
        health_notifications: HealthNotifications,
        at_rest: Callable[[], None] = lambda: None,
    ) -> None:
        self._monotonic = monotonic
        self._log = log
        self._retries = retries
        self._forget_failures = forget_failures
        self._actions = actions
        self._in_progress = in_progress
        self._traffic_load = route_loader
        self._task_cleanup = task_cleanup
        self._crontabs = crontabs
        self._definitions = definitions
        self._garbage = garbage
        self._health_notifications = health_notifications
        self._at_rest = at_rest
        # Services whose exited replicas may have been stopped by a restart of the host or of Docker.
        self._restarted: set[str] = set()
        self.decisions: dict[str, Decision] = {}

    def reconcile(self, observed: HostObservation) -> None:
        """Begin what has to be done, in threads. Services with an action in progress are left alone."""
        if observed.runtime_restarted:
            self._restarted = set(observed.services)
        for service, error in observed.problems.items():
            self._log.failed(service, error)
        if problem := traffic_problem(observed.traffic):
            self._log.failed(TRAFFIC, TrafficUnavailable(problem))
        else:
            self._log.recovered(TRAFFIC)
        self._in_progress.forget_finished()
        self.decisions = {service: one for service, one in self.decisions.items() if service in self._in_progress}
        self._traffic_load.begin_if_due(observed.observations)
        decided = []
        for service, observation in observed.observations.items():
            if service not in self._in_progress:
                try:
                    decided.append(self._decide(service, observation, observed.definitions))
                except Exception as error:  # noqa: BLE001 (a bug in one decision must not end the supervision of others)
                    self._log.failed(service, error)
        paused = {service for service, one in observed.observations.items() if one.paused}
        self._task_cleanup.begin_if_due(observed.cleanup - paused)
        self._crontabs.begin_if_due(observed.crontabs)
        self._garbage.begin_if_due(paused)
        for one in decided:  # last, because it may wait for the disk
            try:
                self._health_notifications.observe(*one)
            except Exception as error:  # noqa: BLE001 (as above)
                self._log.failed(HEALTH_NOTIFICATIONS, error)
        waiting = any(not isinstance(one, Leave) or one.until is not None for one in self.decisions.values())
        if not waiting and not any(one.repair.count for one in self._retries.states.values()):
            self._at_rest()

    def _decide(
        self, service: str, observation: Observation, definitions: Definitions
    ) -> tuple[Observation, Decision, RetryState]:
        """Begin what is decided. Return what the notifications need."""
        state = self._retries.update(observation)
        if service in self._restarted:
            observation = msgspec.structs.replace(observation, runtime_restarted=True)
        jitter = zlib.crc32(f"{service} {state.repair.count}".encode()) / 2**32  # the same until the next attempt
        decision = self.decisions[service] = decide(observation, state, self._monotonic(), jitter)
        if not isinstance(decision, Leave):
            if not isinstance(decision, Recover | Start):
                self._restarted.discard(service)
            before = self._retries.begin(service, decision, change := secrets.token_hex(4))

            def work(action: Action = decision) -> None:
                end = ActionEnd.FAILED
                try:
                    end = self._carry_out(service, action, observation, change, definitions)
                finally:
                    self._retries.end(service, action, end, before)

            self._in_progress.submit(service, work, wakes=True)
        elif decision.until is None and not observation.paused:
            self._restarted.discard(service)
            self._log.recovered(service)
            if state.is_healthy_again(self._monotonic()):
                self._forget_failures(service)
        return observation, decision, state

    def _carry_out(
        self, service: str, action: Action, observation: Observation, change: str, definitions: Definitions
    ) -> ActionEnd:
        end = self._actions.carry_out(
            service, action, observation, change, is_current=lambda: self._definitions() is definitions
        )
        if end in {ActionEnd.FAILED, ActionEnd.YIELDED}:
            self._traffic_load.request()
        if end is ActionEnd.FAILED:
            self._restarted.discard(service)
        return end
