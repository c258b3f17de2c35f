"""Implements the traffic port with plain nginx: write its files, reload it, verify the reload, and drain.

The module is long because the port is: `ReloadTraffic` has each of its methods, and what `cutover: live` overrides.
"""

import contextlib
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import msgspec

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.definitions.host import Host
from conductor.errors import ConductorError
from conductor.plan.canary import Comparison
from conductor.plan.edges import EdgeState
from conductor.plan.route import Cutover, Route, TrafficState, Way
from conductor.state.locks import Locks
from conductor.traffic import grammar, processes
from conductor.traffic.nginx import Checked, Nginx
from conductor.traffic.peers import differ, peers_of
from conductor.traffic.port import (
    Drained,
    Draining,
    Installed,
    ManagedFile,
    TrafficUnavailable,
    Unreached,
    edited_warning,
)
from conductor.traffic.processes import Worker
from conductor.traffic.references import OWN_FILE, passed, upstreams
from conductor.traffic.reload.change import Change, ReloadState, ServiceFile, cutover_of, own_files, state_of
from conductor.traffic.reload.drain import wait_until_drained
from conductor.traffic.reload.edits import edited
from conductor.traffic.reload.include_dir import IncludeDir, services_of
from conductor.traffic.reload.installed_files import InstalledFiles
from conductor.traffic.reload.nginx_lock import NginxLock
from conductor.traffic.reload.reached import unreached
from conductor.traffic.reload.record import Record
from conductor.traffic.reload.reloader import Reloader
from conductor.traffic.reload.warnings import accepted, ignored_names, reboot_warnings, without_effect
from conductor.traffic.render import HEADER, Renderer, file_name
from conductor.traffic.status_server import StatusServer

# With these directives one client connection may use several upstream connections, so sockets prove nothing.
_SEVERAL_UPSTREAMS = re.compile(
    r"\b(http2|http3|quic|auth_request|mirror|ssi|slice|add_before_body|add_after_body|\w+_by_lua\w*|js_\w+"
    r"|proxy_intercept_errors|proxy_cache_background_update)\b"
)


class ReloadTraffic:
    """Implements `Traffic`."""

    implementation = "reload"

    def __init__(self, host: Host, locks: Locks, clock: Clock, cancellation: Cancellation) -> None:
        self._host = host
        self._renderer = Renderer(host)
        self._nginx = Nginx(host.nginx, StatusServer(self._renderer.status_socket, self._renderer.runtime))
        self._directory = IncludeDir(host.nginx, self._renderer, self._nginx)
        self._installed = InstalledFiles(host, self._renderer)
        self._record = Record(Path(host.state_dir))
        self._reloader = Reloader(self._nginx, self._renderer.flag, host.nginx.announce, clock, cancellation)
        self._lock = NginxLock(locks, self._directory, self._renderer.flag)
        self._clock = clock
        self._cancellation = cancellation

    def is_running(self) -> bool:
        """Ask a worker for its generation, over Conductor's own socket."""
        return self._nginx.status.generation() is not None

    def state(self) -> TrafficState:
        """Look for nginx's master only if no worker answers."""
        if self.is_running():
            return TrafficState.RUNNING
        if not self._nginx.has_master():
            return self._nginx.down_state()
        return TrafficState.NOT_ANSWERING if self._nginx.status.listens() else TrafficState.NOT_LOADED

    def check(self, routes: Collection[Route]) -> tuple[str, ...]:
        """Check nginx's whole configuration with the new files over those in place, and that nginx runs."""
        self._directory.make_directories()
        candidate = self._candidate(self._directory.present(), self._files(routes))
        checked = self._check(candidate)
        self._nginx.master(checked.dump)
        edited = filter(None, (self.edited(route.service) for route in routes))
        return (
            *map(edited_warning, edited),
            *reboot_warnings(self.installed_files()),
            *ignored_names(checked, routes),
            *self._warnings(checked.dump, routes),
        )

    def _warnings(self, dump: str, routes: Collection[Route]) -> tuple[str, ...]:
        """Return what an operator should know about a configuration that nginx accepts."""
        return accepted(dump, self._host.nginx.include_dir, routes)

    def verify(self, routes: Collection[Route]) -> tuple[str, ...]:
        """Let nginx read the files in place."""
        return ignored_names(self._directory.check_in_place(), routes)

    def version(self) -> str:
        """Ask the binary."""
        return self._nginx.version()

    def limits_old_connections(self) -> bool:
        """True when `worker_shutdown_timeout` is set in the main context, by Conductor or by the operator."""
        found = grammar.of_file(Path(self._host.nginx.config))
        return any(one.name == "worker_shutdown_timeout" for one in found)

    def serves(self, routes: Collection[Route]) -> bool:
        """Compare the files on disk, and the generation that a worker answers with."""
        present = self._directory.present()
        changes = self._numbered(self._files(routes), present)
        return self._in_force(self._candidate(present, changes), present)

    def _in_force(self, candidate: Mapping[str, str], present: Mapping[str, str]) -> bool:
        return candidate == present and self._nginx.status.generation() == self._renderer.generation(candidate)

    def compared(self, service: str) -> Comparison:
        """nginx counts nothing without Lua."""
        return Comparison()

    def serving(self, service: str) -> frozenset[str]:
        """Look the file on disk up in the record."""
        return frozenset(self._record.endpoints(service, self._directory.read(file_name(service))))

    def way(self, service: str) -> Way:
        """Look at the file on disk."""
        return Way.LIVE if peers_of(self._directory.read(file_name(service))) else Way.RELOAD

    def edges(self, service: str) -> tuple[EdgeState, ...]:
        """Return none."""
        return ()

    def edited(self, service: str) -> Path | None:
        """Look the file on disk up in the record. One without Conductor's header is not Conductor's, and never overwritten."""
        text = self._directory.read(file_name(service))
        own = text is not None and text.startswith(HEADER)
        return (
            self._directory.path / file_name(service) if own and not self._record.knows(service, text or "") else None
        )

    def known(self) -> frozenset[str]:
        """Read the record."""
        return self._record.known()

    def switch(self, routes: Collection[Route], record: Callable[[Cutover], None]) -> tuple[Unreached, ...]:
        """Switch under the nginx lock, so that there is one flag and one reload at a time."""
        wanted = self._files(routes)
        return self._switch(lambda: wanted, record, force=False, former=None, routes=routes)

    def undo(self, cutover: Cutover, services: Collection[str], record: Callable[[Cutover], None]) -> None:
        """Put the former files back, byte for byte: rendering them again could fail or differ."""
        state = state_of(cutover)
        former = {service: file for service, file in state.former.items() if service in services}
        self._switch(lambda: former, record, force=state.reloads, former=former)

    def load(self) -> None:
        """Reload nginx unless it runs what is on disk. When nginx does not run, it will load that at its start."""
        with contextlib.suppress(TrafficUnavailable):
            self._switch(self._not_loaded, lambda _cutover: None, force=False, former=None)

    def _not_loaded(self) -> Mapping[str, ServiceFile]:
        """Return services whose files have to be written again because of what nginx runs with."""
        return {}

    def _switch(
        self,
        wanted: Callable[[], Mapping[str, ServiceFile]],
        record: Callable[[Cutover], None],
        *,
        force: bool,
        former: dict[str, ServiceFile] | None,
        routes: Collection[Route] = (),
    ) -> tuple[Unreached, ...]:
        """Change the files of the services that `wanted` returns under the nginx lock. `former` is what undoing it restores, by
        default what is there now.

        With `force`, nginx is reloaded also when it seems to run these files: an unproven reload may be in progress.
        """
        with self._lock.held() as announced:
            present = self._directory.present()
            changes = self._numbered(wanted(), present)
            now = {service: self._present_file(service, present) for service in changes}
            change = Change(present, self._candidate(present, changes), changes, now, now if former is None else former)
            return self._make(change, record, force=force or announced, routes=routes)

    def _make(
        self, change: Change, record: Callable[[Cutover], None], *, force: bool, routes: Collection[Route]
    ) -> tuple[Unreached, ...]:
        """Make a change under the nginx lock, by a reload unless it is in force."""
        dump, ignored = self._check(change.candidate)
        master = self._nginx.master(dump)
        workers, done = processes.workers(master), not force and self._in_force(change.candidate, change.present)
        if done:  # an earlier reload may still be draining
            listeners = processes.listeners(master)
            workers = frozenset(worker for worker in workers if not processes.listens(worker, listeners))
        workers = self._to_drain(workers, change)
        state = ReloadState(
            workers=tuple(sorted(workers)),
            former=dict(change.former),
            ports=tuple(sorted(processes.listening_ports(master))),
            inspectable=not any(_SEVERAL_UPSTREAMS.search(text) for text in (dump, *change.texts)),
        )
        record(cutover_of(self.implementation, state))
        self._record.begin(change.versions)
        if not done:
            self._directory.place(change.candidate, own_files(change.changes))
            workers = self._to_drain(self._reload(dump, master, change.candidate), change)
            record(cutover_of(self.implementation, msgspec.structs.replace(state, workers=tuple(sorted(workers)))))
        self._record.complete(change.versions, workers)
        generation = self._renderer.generation(change.candidate)
        return () if done else unreached(routes, generation, {name for name, _ in ignored}, self._clock)

    def _check(self, candidate: Mapping[str, str], overlays: Mapping[Path, str] | None = None) -> Checked:
        return self._directory.check(candidate, overlays)

    def _reload(self, dump: str, master: int, candidate: Mapping[str, str]) -> frozenset[Worker]:
        """Load `candidate`, which is in place. Return the workers from before that still live."""
        return self._reloader.reload(dump, master, self._renderer.generation(candidate))

    def _set(self, candidate: Mapping[str, str]) -> None:
        """Make nginx use the peers in `candidate`, which is in place. Without Lua, a reload has done that."""

    def _to_drain(self, workers: frozenset[Worker], change: Change) -> frozenset[Worker]:
        """Return those of `workers`, which are from before the change, that may still send requests to what it removes."""
        return workers

    def _numbered(self, changes: Mapping[str, ServiceFile], present: Mapping[str, str]) -> Mapping[str, ServiceFile]:
        """Return the changes with the generations of their peers, which only `cutover: live` has."""
        return changes

    def drain(
        self, cutover: Cutover, endpoints: Collection[str], seconds: float, progress: Callable[[Draining], None]
    ) -> Drained:
        """Wait for the old workers of the cutover."""
        state = state_of(cutover)
        return wait_until_drained(
            state.workers, state.ports, endpoints, inspectable=state.inspectable, seconds=seconds, clock=self._clock,
            cancellation=self._cancellation, progress=progress,
        )  # fmt: skip

    def install(self, routes: Collection[Route], keep: Collection[str]) -> Installed:
        """Also write what nginx needs outside the include directory. What nginx refuses is not put in place."""
        with self._lock.held() as announced:
            present = self._directory.present()
            changes = dict(self._numbered(self._files(routes), present))
            gone = {service: ServiceFile(None, ()) for service in services_of(present) if service not in keep}
            used = self._used(present, changes, gone) if gone else set()
            changes |= {service: file for service, file in gone.items() if service not in used}
            candidate, dump = self._checked(present, changes)
            return self._install(present, candidate, dump, changes, force=announced)

    def _used(
        self, present: Mapping[str, str], changes: Mapping[str, ServiceFile], gone: Mapping[str, ServiceFile]
    ) -> set[str]:
        """Return the services in `gone` whose files another file needs."""
        try:
            _, dump = self._checked(present, {**changes, **gone})
        except ConductorError:
            return set(gone)
        # With a variable in proxy_pass, nginx accepts a name that is no upstream.
        return {service for service in gone if passed(dump) & upstreams(present[file_name(service)])}

    def _checked(self, present: Mapping[str, str], changes: Mapping[str, ServiceFile]) -> tuple[dict[str, str], str]:
        candidate = self._candidate(present, changes)
        overlays = {file.path: file.wanted for file in self.installed_files() if file.path == self._installed.drop_in}
        return candidate, self._check(candidate, overlays).dump

    def _install(
        self,
        present: dict[str, str],
        candidate: dict[str, str],
        dump: str,
        changes: Mapping[str, ServiceFile],
        *,
        force: bool,
    ) -> Installed:
        master = None
        with contextlib.suppress(TrafficUnavailable):
            master = self._nginx.master(dump)
        versions = {service: file.version for service, file in changes.items()}
        workers = processes.workers(master) if master else frozenset()
        edits = self._edits(dump, master, workers) if master else ()
        now = {service: self._present_file(service, present) for service in changes}
        change = Change(present, candidate, changes, now, now)
        stale = differ(present, candidate) or self._nginx.status.generation() != self._renderer.generation(candidate)
        if stale:
            self._to_drain(workers, change)  # a reload by another program may follow
        self._record.begin(versions)
        placed, outside = self._directory.place(candidate, own_files(changes)), self._installed.write()
        if master is not None and (outside or edits or stale or force):
            try:
                workers = self._reload(dump, master, candidate)
            except ConductorError:
                self._directory.place(present, own_files(changes))
                former = self._renderer.generation(present) if OWN_FILE in present else None
                self._reloader.reload_back(dump, master, former)
                raise
        if master is not None:
            self._set(candidate)
        self._record.complete(versions, self._to_drain(workers, change))
        return Installed(wrote=(*placed, *outside), loaded=edits)

    def _edits(self, dump: str, master: int, workers: Collection[Worker]) -> tuple[str, ...]:
        """Return the files that changed after the workers started that accept requests."""
        listeners, now = processes.listeners(master), self._clock.wall()
        started = [processes.started_at(one, now) for one in workers if processes.listens(one, listeners)]
        return edited(dump, min(started)) if started else ()

    def files(self, routes: Collection[Route]) -> tuple[ManagedFile, ...]:
        """Return the files of the include directory."""
        present = self._directory.present()
        candidate = self._candidate(present, self._numbered(self._files(routes), present))
        names = sorted(name for name, text in candidate.items() if text.startswith(HEADER))
        return tuple(
            ManagedFile(path=self._directory.path / name, wanted=candidate[name], present=present.get(name))
            for name in names
        )

    def installed_files(self) -> tuple[ManagedFile, ...]:
        """Return the files outside the include directory."""
        return self._installed.files()

    def notices(self, routes: Collection[Route]) -> tuple[str, ...]:
        """nginx accepts one `worker_shutdown_timeout`, so Conductor sets none if the operator's configuration does."""
        found = self._warnings(self._directory.check_in_place().dump, routes) if routes else ()
        return without_effect(self._host.nginx, self._installed.own_timeout(), routes) + found

    def _files(self, routes: Collection[Route]) -> dict[str, ServiceFile]:
        return {route.service: ServiceFile(self._renderer.route(route), route.all_endpoints) for route in routes}

    def _present_file(self, service: str, present: Mapping[str, str]) -> ServiceFile:
        text = present.get(file_name(service))
        return ServiceFile(text, self._record.endpoints(service, text))

    def _candidate(self, present: Mapping[str, str], changes: Mapping[str, ServiceFile]) -> dict[str, str]:
        return self._renderer.candidate(present, {file_name(service): file.text for service, file in changes.items()})
