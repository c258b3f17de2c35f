"""One pass of observation: one list of containers for the whole host, and the state files that have changed."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec

from conductor.change.cleanup import is_due
from conductor.change.context import Context
from conductor.change.release_files import ReleaseFiles
from conductor.change.retiring import due
from conductor.definitions.environment import redaction
from conductor.definitions.load import Definitions, restore
from conductor.definitions.model import Definition
from conductor.errors import ConductorError
from conductor.health.monitor import HealthMonitor, Target
from conductor.plan.reconcile import Condition, Observation, ReplicaHealth
from conductor.plan.release import Wanted
from conductor.plan.replica import Containers, Replica
from conductor.plan.route import TrafficState
from conductor.plan.transition import image_changed, wanted_count

# After an exit event the list still shows the replica as running for 50 ms and more, and `inspect` answers only once Docker
# has cleaned up, up to 1 s under load (both measured with Docker events). After this time the list is right in any case.
LATE_LIST_SECONDS = 5.0


class HostObservation(msgspec.Struct, frozen=True, kw_only=True):
    """What one pass saw. `services` are all that were ever deployed or are being deployed for the first time.

    `observations` are those of them that no other process works on. `problems` are errors by service, `cleanup` the services
    with tasks or retiring replicas to clean up, `crontabs` those whose crontab does not follow the definitions, `running` is
    the number of running replicas, `containers` the list from the runtime. `definitions` are those of the pass. `traffic` is the state of the traffic layer if a service is routed.
    `runtime_restarted`: the runtime may have restarted before the pass.
    """

    services: frozenset[str]
    observations: dict[str, Observation]
    problems: dict[str, ConductorError]
    cleanup: frozenset[str]
    crontabs: frozenset[str]
    running: int
    definitions: Definitions
    containers: Containers
    traffic: TrafficState = TrafficState.RUNNING
    runtime_restarted: bool = False


class StoredStates:
    """Wanted states and their definitions, read again only when the file changed."""

    def __init__(self, context: Context) -> None:
        self._store = context.store
        self._wanted: dict[str, tuple[object, Wanted]] = {}
        self._definitions: dict[str, tuple[tuple[str, str], Definition]] = {}

    def read(self, service: str) -> tuple[Wanted, Definition | None]:
        """Return the wanted state and the definition of the live release, if any."""
        stamp = self._store.stamp(service)
        known = self._wanted.get(service)
        if known is None or known[0] != stamp:
            known = self._wanted[service] = (stamp, self._store.wanted(service))
        release = known[1].release
        if release is None:
            return known[1], None
        identity = (release.id, release.digest)
        definition = self._definitions.get(service)
        if definition is None or definition[0] != identity:
            definition = self._definitions[service] = (identity, restore(service, release.definition))
        return known[1], definition[1]


class _Exit(NamedTuple):
    at: float
    code: int | None
    listed: bool = False


class ExitedReplicas:
    """Replicas for which an exit event arrived, which the runtime may still list as running. Safe to change from any thread."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._exited: dict[str, _Exit] = {}

    def __len__(self) -> int:
        """Return how many exits are remembered."""
        return len(self._exited)

    def add(self, container: str, code: int | None) -> None:
        """Record an exit, and forget old ones."""
        now = self._monotonic()
        for old, exit_ in tuple(self._exited.items()):
            if now - exit_.at > LATE_LIST_SECONDS:
                self.discard(old)
        self._exited[container] = _Exit(now, code)

    def discard(self, container: str) -> None:
        """Forget an exit, because a later event made it obsolete."""
        self._exited.pop(container, None)

    def corrected(self, replica: Replica) -> Replica:
        """Return the replica with the state that the event implies."""
        exit_ = self._exited.get(replica.id)
        if exit_ is None or exit_.listed:
            return replica
        if not replica.running or self._monotonic() - exit_.at > LATE_LIST_SECONDS:
            self._exited[replica.id] = exit_._replace(listed=True)
            return replica
        return msgspec.structs.replace(replica, state="exited")

    def codes(self, replicas: Iterable[Replica]) -> dict[str, int]:
        """Return the exit codes by container, of those that have exited and whose event had one."""
        found = ((one.id, self._exited.get(one.id)) for one in replicas if not one.running)
        return {container: exit_.code for container, exit_ in found if exit_ is not None and exit_.code is not None}


class Observer:
    """Makes passes through `context`, and gives the health monitor its targets. `exited` corrects the list of containers."""

    def __init__(self, monitor: HealthMonitor, context: Context, definitions: Callable[[], Definitions]) -> None:
        self._monitor = monitor
        self._context = context
        self._definitions = definitions
        self._stored = StoredStates(context)
        self._files = ReleaseFiles(context.store)
        self._not_running: set[str] = (
            set()
        )  # replicas that were seen not running; once such a replica runs again, it is starting
        self.exited = ExitedReplicas(context.clock.monotonic)

    def stamp(self) -> object:
        """Return a value that changes whenever a wanted state or a journal is written or removed."""
        return self._context.store.stamp_of_all()

    def observe(self, *, runtime_restarted: bool) -> HostObservation:
        """Make one pass. With `runtime_restarted` every running replica may still be starting."""
        context, definitions = self._context, self._definitions()
        replicas, tasks = context.runtime.containers()
        replicas = tuple(self.exited.corrected(one) for one in replicas)
        self._not_running = {one.id for one in replicas if one.id in self._not_running or not one.running}
        by_service: dict[str, list[Replica]] = {}
        for replica in replicas:
            by_service.setdefault(replica.service, []).append(replica)
        problems: dict[str, ConductorError] = {}
        stored = self._read(by_service, problems, starting=runtime_restarted)
        observations: dict[str, Observation] = {}
        crontabs: set[str] = set()
        for service, (wanted, definition) in stored.items():
            try:
                if not context.locks.is_held(service):
                    replicas_of = by_service.get(service, [])
                    one = observations[service] = self._observation(definitions, wanted, definition, replicas_of)
                    if not one.interrupted and one.paused is None and not self._crontab_follows(definitions, wanted):
                        crontabs.add(service)
            except ConductorError as error:
                problems[service] = error
        if runtime_restarted:
            observations = {
                service: msgspec.structs.replace(one, runtime_restarted=True) for service, one in observations.items()
            }
        wall = context.clock.wall()
        return HostObservation(
            services=frozenset({*stored, *problems}),
            observations=observations,
            problems=problems,
            cleanup=frozenset(
                (
                    *(one.service for one in tasks if is_due(one, wall)),
                    *(
                        service
                        for service, (one, _) in stored.items()
                        if due(one, by_service.get(service, []), context.clock)
                    ),
                )
            ),
            crontabs=frozenset(crontabs),
            running=sum(one.running for one in replicas),
            definitions=definitions,
            containers=Containers(replicas, tasks),
            traffic=context.traffic.state()
            if any(one.serving is not None and one.count for one in observations.values())
            else TrafficState.RUNNING,
            runtime_restarted=runtime_restarted,
        )

    def _read(
        self, replicas: Mapping[str, list[Replica]], problems: dict[str, ConductorError], *, starting: bool
    ) -> dict[str, tuple[Wanted, Definition | None]]:
        """Return the stored states that can be read, and watch the health of their replicas."""
        store = self._context.store
        found: dict[str, tuple[Wanted, Definition | None]] = {}
        targets: list[Target] = []
        for service in sorted({*store.services(), *store.in_progress()}):
            try:
                wanted, definition = found[service] = self._stored.read(service)
                targets += self._targets(wanted, definition, replicas.get(service, []), starting=starting)
            except ConductorError as error:  # a service that cannot be read does not delay the others
                problems[service] = error
        self._monitor.watch(targets)
        return found

    def _observation(
        self, definitions: Definitions, wanted: Wanted, definition: Definition | None, replicas: list[Replica]
    ) -> Observation:
        context, settings = self._context, self._context.host.supervise
        defined = definitions.services.get(wanted.service)
        count_from = defined or definition
        if settings.undefined == "stop" and wanted.service not in definitions.ids:
            count_from = None
        follows = defined if settings.drift == "apply" and wanted.stopped is None else None
        if follows and wanted.release and image_changed(wanted.release, follows):
            follows = None  # an upgrade has to apply it
        routed = definition is not None and definition.service.nginx is not None
        paused = wanted.paused
        return Observation(
            wanted=wanted,
            replicas=tuple(ReplicaHealth(one, self._condition(one)) for one in wanted.without_retiring(replicas)),
            exit_codes=self.exited.codes(replicas),
            count=wanted_count(wanted, count_from) if count_from else 0,
            serving=context.traffic.serving(wanted.service) if routed else None,
            interrupted=context.store.is_interrupted(wanted.service),
            paused=None if paused is None or paused.is_over(context.clock.now()) else paused,
            drift=follows if self._files.drift(wanted, follows, definition, replicas) else None,
        )

    def _crontab_follows(self, definitions: Definitions, wanted: Wanted) -> bool:
        """True unless the crontab has to be removed, or installed again. An invalid definition changes nothing."""
        if wanted.service not in definitions.ids:
            return self._context.crontabs.read(wanted.service) is None
        return not (wanted.crontab_removed and wanted.service in definitions.services)

    def _condition(self, replica: Replica) -> Condition:
        if replica.running:
            return self._monitor.condition(replica.id)
        if replica.waits:
            return Condition.STARTING
        return Condition.UNHEALTHY if replica.state == "paused" else Condition.EXITED

    def _targets(
        self, wanted: Wanted, definition: Definition | None, replicas: list[Replica], *, starting: bool
    ) -> list[Target]:
        """Return the running replicas of the live release; all others are going to be removed."""
        if definition is None or definition.service.health is None or wanted.release is None:
            return []
        health, live = definition.service.health, wanted.release.id
        running = [one for one in replicas if one.running and one.release == live]
        service = definition.service

        def redact(text: str) -> str:  # reads the secrets, only when a check has failed
            return redaction(service)(text)

        return [Target(one, health, starting or one.id in self._not_running, redact) for one in running]
