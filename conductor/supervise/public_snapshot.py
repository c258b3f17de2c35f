"""Makes the document for `conductor web` after each pass. Only services that have changed are examined again.

Everything else comes from what the pass saw: a snapshot makes no call to list containers, and no health check.
"""

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from conductor.change.context import Context
from conductor.definitions.environment import redaction
from conductor.definitions.load import restore
from conductor.errors import ConductorError
from conductor.plan.reconcile import Condition
from conductor.plan.release import Image
from conductor.plan.replica import Containers, ContainerUsage, Replica
from conductor.plan.route import TrafficState
from conductor.runtime.port import Runtime
from conductor.snapshot.host import recent_past, service_snapshots
from conductor.snapshot.jobs import job_rows
from conductor.snapshot.model import HostSnapshot, JobRow, ServiceSnapshot
from conductor.snapshot.past import Past
from conductor.snapshot.published import Change, Disk, Machine, Published
from conductor.snapshot.services import HostFacts
from conductor.snapshot.shown_definition import shown
from conductor.state.supervisor_status import ReplicaStatus, SupervisorStatus
from conductor.supervise.observe import HostObservation
from conductor.supervise.totals import HistoryTotals

REFRESH_SECONDS = 120.0  # memory, disks and everything else that changes without a trace is read again after this time
HISTORY_ENTRIES = 20  # of each service
STARTING = ReplicaStatus(condition=Condition.STARTING)


class ObservedRuntime:
    """The part of `Runtime` that a snapshot needs: the containers are those of the latest pass, and images are looked for
    again only after a refresh."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self.seen = Containers((), ())
        self.images: dict[str, Image | None] = {}

    def containers(self, service: str | None = None) -> Containers:
        """Return the containers that the latest pass saw."""
        replicas = tuple(one for one in self.seen.replicas if service in {None, one.service})
        return Containers(replicas, tuple(one for one in self.seen.tasks if service in {None, one.service}))

    def image(self, reference: str) -> Image | None:
        """Return a local image, or None."""
        if reference not in self.images:
            self.images[reference] = self._runtime.image(reference)
        return self.images[reference]

    def usage(self, container: str) -> ContainerUsage | None:
        """Read the container's cgroup."""
        return self._runtime.usage(container)


class PublicSnapshots:
    """Makes documents one after the other; used by one thread. `machine_name` is the name of this host."""

    def __init__(self, passes: Context, machine_name: str) -> None:
        self._runtime = ObservedRuntime(passes.runtime)
        self._context = msgspec.structs.replace(passes, runtime=cast("Runtime", self._runtime))
        self._daemon = passes.runtime.daemon
        self._name = machine_name
        self.history = HistoryTotals(passes.store.directory, HISTORY_ENTRIES)
        self._past: dict[str, tuple[str, Past]] = {}
        self._refreshed = float("-inf")
        self._product = ""
        self._keys: dict[str, tuple[object, object]] = {}
        self._services: dict[str, ServiceSnapshot] = {}
        self._definitions: dict[str, str] = {}
        self._health: dict[str, ReplicaStatus] = {}
        self._jobs: tuple[JobRow, ...] = ()
        self._jobs_key: object = None
        self._traffic = TrafficState.RUNNING
        self._machine: Machine | None = None

    def document(self, observed: HostObservation, status: SupervisorStatus, **more: Any) -> Published:
        """Return the document. `status` is the supervisor status of the same pass, `more` the other fields of the document."""
        context, definitions = self._context, observed.definitions
        self._runtime.seen = observed.containers
        refresh = context.clock.monotonic() - self._refreshed >= REFRESH_SECONDS
        if refresh:
            self._refreshed = context.clock.monotonic()
            self._refresh(context)
        news = self.history.read() or refresh
        if news:
            self._read_past({service: release for service, (release, _) in self._past.items()})
        if any(one.serving is not None for one in observed.observations.values()):
            self._traffic = observed.traffic
        ids = self._update_services(observed, status, refresh=refresh)
        running = frozenset(one.id for one in observed.containers.tasks if one.running)
        if news or self._jobs_key != (running, ids):
            self._jobs_key = running, ids
            with contextlib.suppress(ConductorError):  # a crontab that cannot be read: `cron list` reports it
                found = job_rows(definitions, context)
                self._jobs = tuple(msgspec.structs.replace(one, output="") for one in found)
        assert self._machine is not None  # noqa: S101 (the first document refreshes)
        return Published(
            written=context.clock.now(),
            status=HostSnapshot(
                time=context.clock.now(),
                supervise_running=True,
                nginx=self._traffic,
                services=tuple(self._services[service] for service in ids),
            ),
            jobs=self._jobs,
            changes=tuple(self._changes(observed)),
            history=self.history.shown,
            definitions=self._definitions,
            machine=self._machine,
            **more,
        )

    def _refresh(self, context: Context) -> None:
        self._runtime.images.clear()
        self._traffic = context.traffic.state()
        if not self._product:
            with contextlib.suppress(ConductorError):
                daemon = self._daemon()
                self._product = f"{daemon.product} {daemon.version}"
        total, available = _memory()
        self._machine = Machine(
            name=self._name, memory=total, memory_available=available, runtime=self._product,
            disks=tuple(_disks(("/", context.host.state_dir))),
        )  # fmt: skip

    def _update_services(self, observed: HostObservation, status: SupervisorStatus, *, refresh: bool) -> Sequence[str]:
        """Examine the services that have changed, or all with `refresh`. Return the ids of all, in order."""
        definitions = observed.definitions
        by_service: dict[str, list[Replica]] = {}
        for one in observed.containers.replicas:
            by_service.setdefault(one.service, []).append(one)
        ids = (*definitions.ids, *sorted({*observed.services, *by_service}.difference(definitions.ids)))
        # A replica that is not watched is not live yet, or no longer: then its last known health stays.
        health = self._health = {
            one.id: status.replicas.get(one.id) or self._health.get(one.id) or STARTING
            for one in observed.containers.replicas
        }
        keys = {service: self._key(service, observed, status, by_service.get(service, []), health) for service in ids}
        changed = [
            service
            for service in ids
            if refresh or (keys[service], self._past.get(service)) != self._keys.get(service, (None, None))
        ]
        facts = HostFacts(
            replicas=observed.containers.replicas, statuses=status.services, health=health, traffic=self._traffic
        )
        found = service_snapshots(definitions, self._context, changed, facts, self._past_of)
        self._services = {service: self._services[service] for service in ids if service in self._services}
        self._services |= {one.service: one for one in found}
        self._definitions = {service: self._definitions[service] for service in ids if service in self._definitions}
        for service in changed:
            if service not in self._definitions or keys[service] != self._keys.get(service, (None, None))[0]:
                self._definitions[service] = self._definition(service)
        self._keys = {service: (key, self._past.get(service)) for service, key in keys.items()}
        return ids

    def _key(
        self,
        service: str,
        observed: HostObservation,
        status: SupervisorStatus,
        replicas: Sequence[Replica],
        health: Mapping[str, ReplicaStatus],
    ) -> object:
        """Return a value that changes whenever the service has to be examined again."""
        observation = observed.observations.get(service)
        return (
            service in observed.definitions.ids, observed.definitions.services.get(service),
            observed.definitions.broken.get(service), self._context.store.stamp(service), tuple(replicas), status.services.get(service),
            tuple(health[one.id] for one in replicas), self._traffic, observation is None,
            None if observation is None else (observation.paused, observation.interrupted, observation.serving),
        )  # fmt: skip

    def _past_of(self, live: Mapping[str, str]) -> Mapping[str, Past]:
        """Return the past of services, which is read again only when the history has changed."""
        known = {service: release for service, (release, _) in self._past.items()}
        self._read_past({service: release for service, release in live.items() if known.get(service) != release})
        return {service: self._past[service][1] for service in live}

    def _read_past(self, live: Mapping[str, str]) -> None:
        if live:
            found = recent_past(self._context, live)
            self._past |= {service: (live[service], past) for service, past in found.items()}

    def _definition(self, service: str) -> str:
        """Return the definition of the live release as JSON, without values that may be secrets."""
        try:
            release = self._context.store.wanted(service).release
            if release is None:
                return ""
            text = msgspec.json.format(msgspec.json.encode(shown(release.definition)), indent=2).decode()
            return redaction(restore(service, release.definition).service)(text)
        except ConductorError:  # reported by a note
            return ""

    def _changes(self, observed: HostObservation) -> Sequence[Change]:
        found: dict[str, Change] = {}
        known = observed.observations.keys() | observed.problems.keys()  # the locks of all others were held
        for service in self._context.store.in_progress():
            with contextlib.suppress(ConductorError):  # reported by a note
                if (journal := self._context.store.journal(service)) is not None:
                    before = found.get(journal.change)
                    found[journal.change] = Change(
                        change=journal.change, services=journal.services, action=journal.action, who=journal.who,
                        command=journal.command, began=journal.began,
                        from_=journal.old.release.revision if journal.old.release else None,
                        to=journal.release.revision, plan=journal.plan,
                        steps=journal.steps if before is None else before.steps,
                        running=(before is not None and before.running) or service not in known,
                    )  # fmt: skip
        return sorted(found.values(), key=lambda one: one.began)


def _memory(path: Path = Path("/proc/meminfo")) -> tuple[int, int]:
    """Return the memory of the host and how much of it is available, in bytes; zeros if that cannot be read."""
    try:
        lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
        return int(lines["MemTotal"].split()[0]) * 1024, int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 0, 0


def _disks(directories: Sequence[str]) -> Sequence[Disk]:
    """Return the file systems of the directories, each once."""
    found: dict[int, Disk] = {}
    for directory in directories:
        with contextlib.suppress(OSError):
            usage, device = shutil.disk_usage(directory), Path(directory).stat().st_dev
            found.setdefault(device, Disk(directory=directory, free=usage.free, size=usage.total))
    return tuple(found.values())
