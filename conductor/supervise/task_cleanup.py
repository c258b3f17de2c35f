"""Removes the containers of tasks whose `conductor run` was killed, between the actions on their service."""

from collections.abc import Collection
from math import inf

from conductor.supervise.act import clean_up
from conductor.supervise.actions import InProgress
from conductor.supervise.contexts import Contexts

INTERVAL_SECONDS = 60.0  # between two attempts on one service


class TaskCleanup:
    """Cleans up the tasks of services that have no action in progress."""

    def __init__(self, contexts: Contexts, in_progress: InProgress) -> None:
        self._contexts = contexts
        self._in_progress = in_progress
        self._last: dict[str, float] = {}

    def begin_if_due(self, services: Collection[str]) -> None:
        """Begin to clean up in a thread per service, where that is due."""
        now = self._contexts.passes.clock.monotonic()
        for service in services:
            if service not in self._in_progress and now - self._last.get(service, -inf) >= INTERVAL_SECONDS:
                self._last[service] = now
                self._begin(service)

    def _begin(self, service: str) -> None:
        self._in_progress.submit(service, lambda: clean_up(self._contexts.for_action(service), service))
