"""Loads routes that are configured but not in force, because a process was killed between writing and loading them."""

import contextlib
from collections.abc import Mapping
from math import inf

from conductor.plan.reconcile import Observation
from conductor.supervise.actions import InProgress
from conductor.supervise.contexts import Contexts
from conductor.supervise.log import SupervisorLog
from conductor.supervise.schedule import PASS_SECONDS
from conductor.traffic.port import TrafficUnavailable

SUBJECT = "nginx routes"  # no service id contains a space


class RouteLoader:
    """Loads the configured routes at the start, and after each action that did not succeed."""

    def __init__(self, contexts: Contexts, in_progress: InProgress, log: SupervisorLog) -> None:
        self._contexts = contexts
        self._in_progress = in_progress
        self._log = log
        self._due = -inf

    def request(self) -> None:
        """Load with the next pass."""
        self._due = -inf

    def begin_if_due(self, observations: Mapping[str, Observation]) -> None:
        """Begin to load in a thread, if that is due and a service is routed."""
        due = self._contexts.passes.clock.monotonic() >= self._due and SUBJECT not in self._in_progress
        if due and any(one.serving for one in observations.values()):
            self._due = inf
            self._in_progress.submit(SUBJECT, self._load)

    def _load(self) -> None:
        try:
            with contextlib.suppress(TrafficUnavailable):  # nginx loads them when it starts
                self._contexts.for_host(SUBJECT).traffic.load()
        except Exception as error:  # noqa: BLE001 (a bug here must not end the supervision)
            self._due = self._contexts.passes.clock.monotonic() + PASS_SECONDS
            self._log.failed(SUBJECT, error)
        else:
            self._log.recovered(SUBJECT)
