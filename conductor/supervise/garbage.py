"""Removes garbage once a day, in a thread of its own. No repair waits for it.

A service is locked only while results of its cron jobs are removed. `task_cleanup.py` removes containers.
"""

from collections.abc import Collection

from conductor.change.garbage import collect
from conductor.plan.garbage import Kind, summary
from conductor.supervise.actions import InProgress
from conductor.supervise.contexts import Contexts
from conductor.supervise.log import SupervisorLog

SUBJECT = "garbage collection"  # no service id contains a space
DAY_SECONDS = 86400.0
ATTEMPT_SECONDS = 600.0  # between two attempts, and from the start of `supervise`, which has repairs to make then
KINDS = frozenset(Kind) - {Kind.CONTAINER}


class DailyCollection:
    """Begins a run one day after the last one, even if `supervise` was restarted: the time of the last run is stored."""

    def __init__(self, contexts: Contexts, in_progress: InProgress, log: SupervisorLog) -> None:
        self._contexts = contexts
        self._in_progress = in_progress
        self._log = log
        self._next = contexts.passes.clock.monotonic() + ATTEMPT_SECONDS

    def begin_if_due(self, paused: Collection[str]) -> None:
        """Begin a run if it is due. Nothing of `paused` services is removed."""
        now = self._contexts.passes.clock.monotonic()
        if now >= self._next and SUBJECT not in self._in_progress:
            self._next = now + ATTEMPT_SECONDS
            self._in_progress.submit(SUBJECT, lambda: self._attempt(frozenset(paused)))

    def _attempt(self, paused: Collection[str]) -> None:
        store, clock = self._contexts.passes.store, self._contexts.passes.clock
        try:
            last = store.collected()
            if last and 0 <= clock.age(last) < DAY_SECONDS:
                return
            store.write_collected(clock.now())  # first, so that a run that fails is not repeated at once
            removed = collect(self._contexts.for_host(SUBJECT), KINDS, without=paused).removed
            if removed:
                self._log.info(f"{SUBJECT}: removed {summary(removed)}")
        except Exception as error:  # noqa: BLE001 (a bug here must not end the supervision)
            self._log.failed(SUBJECT, error)
        else:
            self._log.recovered(SUBJECT)
