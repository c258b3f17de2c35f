"""Crontabs follow the definitions: removed when a service leaves a valid file, installed again when it returns.

Otherwise the jobs of a service that moved to another host would run on both.
"""

import contextlib
from collections.abc import Callable, Collection
from math import inf

import msgspec

from conductor.caller import current_user
from conductor.change.context import Context
from conductor.change.crontab import wanted_crontab, wrapped
from conductor.definitions.load import Definitions
from conductor.errors import BusyError
from conductor.plan.history import HistoryAction, HistoryEntry, Outcome
from conductor.supervise.act import is_paused
from conductor.supervise.actions import InProgress
from conductor.supervise.contexts import Contexts
from conductor.supervise.log import SupervisorLog

INTERVAL_SECONDS = 5.0  # between two attempts on one service


class CrontabFollower:
    """Removes and installs the crontabs of services that have no action in progress."""

    def __init__(
        self,
        contexts: Contexts,
        in_progress: InProgress,
        log: SupervisorLog,
        definitions: Callable[[], Definitions],
    ) -> None:
        self._contexts = contexts
        self._in_progress = in_progress
        self._log = log
        self._definitions = definitions
        self._last: dict[str, float] = {}

    def begin_if_due(self, services: Collection[str]) -> None:
        """Start a thread for each of these services, whose crontabs differ from the definitions."""
        now = self._contexts.passes.clock.monotonic()
        for service in services:
            if service not in self._in_progress and now - self._last.get(service, -inf) >= INTERVAL_SECONDS:
                self._last[service] = now
                self._begin(service)

    def _begin(self, service: str) -> None:
        self._in_progress.submit(service, lambda: self._follow(service))

    def _follow(self, service: str) -> None:
        try:
            defined = service in self._definitions().ids
            with contextlib.suppress(BusyError):
                if follow_definitions(self._contexts.for_action(service), service, defined=defined):
                    what = "installed again" if defined else "removed: the service is not in the definitions file"
                    self._log.info(f"{service}: crontab {what}")
        except Exception as error:  # noqa: BLE001 (a bug here must not end the supervision)
            self._log.failed(f"{service}.crontab", error)
        else:
            self._log.recovered(f"{service}.crontab")


def follow_definitions(context: Context, service: str, *, defined: bool) -> bool:
    """Remove the crontab of a service, or install that of its release; return True when that changed anything."""
    with context.locks.hold(service):
        wanted = context.store.wanted(service)
        if context.store.journal(service) is not None or is_paused(context, service):
            return False
        if context.host.fleet is not None:
            return context.crontabs.put(service, wanted_crontab(context, wanted, defined=defined))
        action: HistoryAction = "cron-install" if defined else "cron-remove"
        if defined:
            if not wanted.crontab_removed:  # installed meanwhile, and perhaps removed by an operator since
                return False
            text = wrapped(context, wanted.release) if wanted.release and not wanted.stopped else None
            changed = text is not None and context.crontabs.put(service, text)
            context.store.write_wanted(msgspec.structs.replace(wanted, crontab_removed=False))
        else:
            if context.crontabs.read(service) is None:  # absent, or another program's
                return False
            context.store.write_wanted(msgspec.structs.replace(wanted, crontab_removed=True))
            changed = context.crontabs.put(service, None)
        if changed:
            context.history.append(
                HistoryEntry(
                    at=context.clock.now(), service=service, action=action, outcome=Outcome.DONE, who=current_user(),
                    command=context.command, to=wanted.release.revision if wanted.release and defined else None,
                )
            )  # fmt: skip
        return changed
