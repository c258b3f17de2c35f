"""One look at everything: one list of containers for the whole host, state files as far as they have changed."""

from collections.abc import Callable

import msgspec

from conductor.change.cleanup import reapable
from conductor.change.context import Context
from conductor.definitions.load import Definitions, restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.health.monitor import HealthMonitor, Target
from conductor.plan.reconcile import Condition, Observation, ReplicaHealth
from conductor.plan.transition import drifted, wanted_count
from conductor.plan.values import Container, Held, Wanted

LIST_IS_LATE_SECONDS = 5.0  # at most; from then on it is right, whatever event was missed


class Observer:
    """Looks through `context`, which it has for itself. `problems` are services that cannot be read, and why."""

    def __init__(
        self, watcher: HealthMonitor, context: Callable[[], Context], definitions: Callable[[], Definitions]
    ) -> None:
        self._watcher = watcher
        self._context = context
        self._definitions = definitions
        self._read: dict[str, tuple[object, Wanted]] = {}
        self._released: dict[str, tuple[str, Definition]] = {}
        self.problems: dict[str, str] = {}
        self.died: dict[str, float] = {}  # when the daemon has told so; changed by any thread
        self._rested: set[str] = set()  # what was seen not to run: when it does, it starts anew
        self.to_reap: set[str] = set()
        self.services: set[str] = set()
        self.containers = 0

    def look(self, *, daemon_was_away: bool) -> dict[str, Observation]:
        """Every service that was ever deployed here, or is for the first time, but for those that somebody else works on
        right now. Containers that did not run before, or may not have while the daemon was away, may be starting."""
        context = self._context()
        found = [self._now(context, container) for container in context.runtime.containers()]
        self._rested = {c.id for c in found if c.id in self._rested or not c.running}
        self.containers = sum(c.kind == "service" and c.running for c in found)
        wall = context.clock.wall()
        self.to_reap = {c.service for c in found if reapable(c, wall)}
        mine: dict[str, list[Container]] = {}
        for container in found:
            if container.kind == "service":
                mine.setdefault(container.service, []).append(container)
        read: dict[str, tuple[Wanted, Definition | None]] = {}
        problems: dict[str, str] = {}
        targets: list[Target] = []
        for service in sorted({*context.store.services(), *context.store.under_way()}):
            try:
                wanted, definition = read[service] = self._wanted(context, service)
                targets += self._targets(wanted, definition, mine.get(service, []), starting=daemon_was_away)
            except ConductorError as error:  # one broken service keeps nobody else waiting
                problems[service] = error.sentence
        self._watcher.watch(targets)
        self.services = {*read, *problems}
        observations: dict[str, Observation] = {}
        for service, (wanted, definition) in read.items():
            try:
                if context.locks.holder(service) is None:
                    observations[service] = self._situation(
                        context, wanted, definition, mine.get(service, []), daemon_was_away=daemon_was_away
                    )
            except ConductorError as error:
                problems[service] = error.sentence
        self.problems = problems
        return observations

    def _now(self, context: Context, container: Container) -> Container:
        """The daemon's list knows a death 50 ms and more after its event (measured), and asked about the one container it
        answers only when it has cleaned up: up to a second under load (measured)."""
        told = self.died.get(container.id)
        if told is not None and (not container.running or context.clock.monotonic() - told > LIST_IS_LATE_SECONDS):
            self.died.pop(container.id, None)
            return container
        return container if told is None else msgspec.structs.replace(container, state="exited")

    def stamp(self) -> object:
        """Another one whenever a file of the wanted states or the journals was renamed or removed."""
        return self._context().store.stamp_of_all()

    def _wanted(self, context: Context, service: str) -> tuple[Wanted, Definition | None]:
        """As on disk; read anew only when the file is another one."""
        stamp = context.store.stamp(service)
        known = self._read.get(service)
        if known is None or known[0] != stamp:
            known = self._read[service] = (stamp, context.store.wanted(service))
        wanted = known[1]
        if wanted.release is None:
            return wanted, None
        released = self._released.get(service)
        if released is None or released[0] != wanted.release.change + wanted.release.digest:
            definition = restore(service, wanted.release.definition)
            released = self._released[service] = (wanted.release.change + wanted.release.digest, definition)
        return wanted, released[1]

    def _situation(
        self,
        context: Context,
        wanted: Wanted,
        definition: Definition | None,
        mine: list[Container],
        *,
        daemon_was_away: bool,
    ) -> Observation:
        definitions, wishes = self._definitions(), context.host.supervise
        defined = definitions.services.get(wanted.service)
        counted = defined or definition
        if wishes.undefined == "stop" and wanted.service not in definitions.ids:
            counted = None
        drift = defined if wishes.drift == "apply" and wanted.stopped is None else None
        nginx = definition is not None and definition.service.nginx is not None
        return Observation(
            wanted=wanted,
            seen=tuple(ReplicaHealth(c, self._condition(c)) for c in mine),
            count=wanted_count(wanted, counted) if counted else 0,
            served=context.traffic.served(wanted.service) if nginx else None,
            dead_change=context.store.journal(wanted.service) is not None,
            paused=_paused(context, wanted.paused),
            daemon_was_away=daemon_was_away,
            drift=drift if drift is not None and drifted(wanted, drift) else None,
        )

    def _condition(self, container: Container) -> Condition:
        if container.running:
            return self._watcher.condition(container.id)
        return "bad" if container.state == "paused" else "exited"

    def _targets(
        self, wanted: Wanted, definition: Definition | None, mine: list[Container], *, starting: bool
    ) -> list[Target]:
        """Those of the live release that run; others are not asked, they go."""
        if definition is None or definition.service.health is None or wanted.release is None:
            return []
        health, live = definition.service.health, wanted.release.change
        running = [c for c in mine if c.running and c.change == live]
        return [Target(c, health, starting or c.id in self._rested) for c in running]


def _paused(context: Context, held: Held | None) -> str:
    if held is None or held.is_over(context.clock.now()):
        return ""
    until = f" until {held.until}" if held.until else ""
    return f"paused by {held.who}{until}: {held.reason}"
