"""Implements the traffic port with plain nginx: write its files, reload it, verify the reload, and drain."""

import contextlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.definitions.model import Host, Server
from conductor.errors import ConductorError
from conductor.plan.route import Cutover, Route
from conductor.state import files
from conductor.state.locks import NGINX_SECONDS, Locks
from conductor.traffic import grammar, processes
from conductor.traffic.nginx import Checked, Nginx
from conductor.traffic.port import Drained, ManagedFile, TrafficUnavailable
from conductor.traffic.processes import Worker
from conductor.traffic.reload.drain import wait_until_drained
from conductor.traffic.reload.include_dir import IncludeDir, services_of
from conductor.traffic.reload.record import Record, Version, digest
from conductor.traffic.reload.reloader import Reloader
from conductor.traffic.render import HEADER, INCLUDES, OWN_FILE, Renderer, file_name

TMPFILES = Path("/etc/tmpfiles.d")
NGINX_UNIT = Path("/etc/systemd/system/nginx.service.d")
DISTRIBUTION_CONFIG = "/etc/nginx/nginx.conf"
# With these directives one client connection may use several upstream connections, so sockets prove nothing.
_SEVERAL_UPSTREAMS = re.compile(
    r"\b(http2|http3|quic|auth_request|mirror|ssi|slice|add_before_body|add_after_body|\w+_by_lua\w*|js_\w+"
    r"|proxy_intercept_errors|proxy_cache_background_update)\b"
)


class ServiceFile(msgspec.Struct, frozen=True):
    """A service's file: its text (None: no file) and the endpoints it sends requests to."""

    text: str | None
    endpoints: tuple[str, ...]

    @property
    def version(self) -> Version:
        """The version that the record stores."""
        return Version(digest(self.text), self.endpoints)


class ReloadState(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a cutover. `workers` are those that may still send requests to what was in force before.

    `former` has each changed service's file from before, `ports` are nginx's listening ports, and `inspectable` says that
    the sockets of these workers prove a drain.
    """

    workers: tuple[Worker, ...] = ()
    former: dict[str, ServiceFile] = {}
    ports: tuple[int, ...] = ()
    inspectable: bool = False


class ReloadTraffic:
    """Implements `Traffic`."""

    def __init__(self, host: Host, locks: Locks, clock: Clock, cancellation: Cancellation) -> None:
        self._host = host
        self._renderer = Renderer(host)
        self._nginx = Nginx(host.nginx, self._renderer.status_socket, self._renderer.unavailable)
        self._directory = IncludeDir(host.nginx, self._renderer, self._nginx)
        self._record = Record(Path(host.state_dir))
        self._reloader = Reloader(self._nginx, self._renderer.flag, host.nginx.announce, clock, cancellation)
        self._locks = locks
        self._clock = clock
        self._cancellation = cancellation

    def is_running(self) -> bool:
        """Ask a worker for its generation, over Conductor's own socket."""
        return self._nginx.generation() is not None

    def check(self, routes: Collection[Route]) -> tuple[str, ...]:
        """Check nginx's whole configuration with the new files over those in place, and that nginx runs."""
        self._directory.make_directories()
        candidate = self._candidate(self._directory.present(), self._files(routes))
        checked = self._directory.check(candidate)
        self._nginx.master(checked.dump)
        named = {route.service: server.names for route in routes if (server := _server(route))}
        return (*reboot_warnings(self.installed_files()), *self._ignored(checked, named))

    def _ignored(self, checked: Checked, named: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
        """Return a warning for each name of these services that nginx ignores, because another block has it too."""
        return tuple(
            f"nginx has two server blocks for {name} on {address} and ignores one: "
            f"requests for {name} may not reach {' or '.join(services)}"
            for name, address in checked.ignored_names
            if (services := [service for service, names in named.items() if name in names])
        )

    def serves(self, routes: Collection[Route]) -> bool:
        """Compare the files on disk, and the generation that a worker answers with."""
        present = self._directory.present()
        return self._in_force(self._candidate(present, self._files(routes)), present)

    def _in_force(self, candidate: Mapping[str, str], present: Mapping[str, str]) -> bool:
        return candidate == present and self._nginx.generation() == self._renderer.generation(candidate)

    def serving(self, service: str) -> frozenset[str]:
        """Look the file on disk up in the record."""
        return frozenset(self._record.endpoints(service, self._directory.read(file_name(service))))

    def known(self) -> frozenset[str]:
        """Read the record."""
        return self._record.known()

    def switch(self, routes: Collection[Route], record: Callable[[Cutover], None]) -> None:
        """Switch under the nginx lock, so that there is one flag and one reload at a time."""
        self._switch(self._files(routes), record, force=False, former=None)

    def undo(self, cutover: Cutover, services: Collection[str], record: Callable[[Cutover], None]) -> None:
        """Put the former files back, byte for byte: rendering them again could fail or differ."""
        former = {service: file for service, file in _state(cutover).former.items() if service in services}
        self._switch(former, record, force=True, former=former)

    def load(self) -> None:
        """Reload nginx unless it runs what is on disk. When nginx does not run, it will load that at its start."""
        with contextlib.suppress(TrafficUnavailable):
            self._switch({}, lambda _cutover: None, force=False, former=None)

    def _switch(
        self,
        changes: Mapping[str, ServiceFile],
        record: Callable[[Cutover], None],
        *,
        force: bool,
        former: dict[str, ServiceFile] | None,
    ) -> None:
        """Change the files of these services. `former` is what undoing it restores, by default what is there now.

        With `force`, nginx is reloaded also when it seems to run these files: an unproven reload may be in progress.
        """
        with self._locked():
            present = self._directory.present()
            candidate = self._candidate(present, changes)
            dump = self._directory.check(candidate).dump
            master = self._nginx.master(dump)
            now = {service: self._present_file(service, present) for service in changes}
            workers, done = processes.workers(master), not force and self._in_force(candidate, present)
            if done:  # an earlier reload may still be draining
                listeners = processes.listeners(master)
                workers = frozenset(worker for worker in workers if not processes.listens(worker, listeners))
            state = ReloadState(
                workers=tuple(sorted(workers)),
                former=now if former is None else former,
                ports=tuple(sorted(processes.listening_ports(master))),
                inspectable=not any(_SEVERAL_UPSTREAMS.search(text) for text in (dump, *_texts(now))),
            )
            record(_cutover(state))
            versions = {service: file.version for service, file in changes.items()}
            self._record.begin(versions)
            if not done:
                self._directory.place(candidate, _own(changes))
                workers = self._reloader.reload(dump, master, self._renderer.generation(candidate))
                record(_cutover(msgspec.structs.replace(state, workers=tuple(sorted(workers)))))
            self._record.complete(versions, workers)

    def drain(
        self, cutover: Cutover, endpoints: Collection[str], seconds: float, progress: Callable[[str], None]
    ) -> Drained:
        """Wait for the old workers of the cutover."""
        state = _state(cutover)
        return wait_until_drained(
            state.workers, state.ports, endpoints, inspectable=state.inspectable, seconds=seconds, clock=self._clock,
            cancellation=self._cancellation, progress=progress,
        )  # fmt: skip

    def install(self, routes: Collection[Route], keep: Collection[str]) -> tuple[str, ...]:
        """Also write what nginx needs outside the include directory. What nginx refuses is not put in place."""
        with self._locked():
            present = self._directory.present()
            changes = self._files(routes)
            gone = {service: ServiceFile(None, ()) for service in services_of(present) if service not in keep}
            try:
                candidate, dump = self._checked(present, {**changes, **gone})
                changes |= gone
            except ConductorError:  # another file may refer to an upstream that would be gone
                candidate, dump = self._checked(present, changes)
            return self._install(present, candidate, dump, changes)

    def _checked(self, present: Mapping[str, str], changes: Mapping[str, ServiceFile]) -> tuple[dict[str, str], str]:
        candidate = self._candidate(present, changes)
        overlays = {file.path: file.wanted for file in self.installed_files() if file.path == self._drop_in_path}
        return candidate, self._directory.check(candidate, overlays).dump

    def _install(
        self, present: dict[str, str], candidate: dict[str, str], dump: str, changes: Mapping[str, ServiceFile]
    ) -> tuple[str, ...]:
        master = None
        with contextlib.suppress(TrafficUnavailable):
            master = self._nginx.master(dump)
        versions = {service: file.version for service, file in changes.items()}
        workers = processes.workers(master) if master else frozenset()
        self._record.begin(versions)
        outside = [file for file in self.installed_files() if file.present != file.wanted]
        changed = self._directory.place(candidate, _own(changes)) + tuple(str(file.path) for file in outside)
        for file in outside:
            files.make_directory(file.path.parent, 0o755)
            files.write_bytes(file.path, file.wanted.encode(), 0o644)
        if any(file.path.parent == NGINX_UNIT for file in outside):
            self._nginx.reload_units()
        generation = self._renderer.generation(candidate)
        if master is not None and (changed or self._nginx.generation() != generation):
            try:
                workers = self._reloader.reload(dump, master, generation)
            except ConductorError:
                self._directory.place(present, _own(changes))
                self._nginx.reload(master)
                raise
        self._record.complete(versions, workers)
        return changed

    def files(self, routes: Collection[Route]) -> tuple[ManagedFile, ...]:
        """Return the files of the include directory."""
        present = self._directory.present()
        changes = self._files(routes)
        candidate = self._candidate(present, changes)
        names = sorted(name for name, text in candidate.items() if text.startswith(HEADER))
        return tuple(
            ManagedFile(path=self._directory.path / name, wanted=candidate[name], present=present.get(name))
            for name in names
        )

    def installed_files(self) -> tuple[ManagedFile, ...]:
        """Return the files outside the include directory that `install` writes, where the host has a place for them.

        /run is empty after a boot, so systemd-tmpfiles creates the directories there before nginx starts. A killed nginx
        leaves its sockets behind, which its unit removes before the next start.
        """
        wanted = {}
        drop_in = self._drop_in_path
        if drop_in.parent.is_dir() and (self._own_timeout() is None or drop_in.exists()):
            milliseconds = int(self._host.nginx.longest_connection * 1000)
            limit = "" if self._own_timeout() else f"worker_shutdown_timeout {milliseconds}ms;\n"
            wanted[drop_in] = f"{HEADER}{limit}"
        name = "conductor.conf" if self._host.instance == "default" else f"conductor-{self._host.instance}.conf"
        if self._host.runtime_dir.startswith("/run/"):
            wanted[TMPFILES / name] = self._renderer.tmpfiles()
        if self._host.nginx.config == DISTRIBUTION_CONFIG:
            wanted[NGINX_UNIT / name] = self._renderer.unit_drop_in()
        found = [ManagedFile(path=path, wanted=text, present=_read(path)) for path, text in wanted.items()]
        return tuple(
            one for one in found if one.path.parent.parent.is_dir() and (one.present or HEADER).startswith(HEADER)
        )  # a file that Conductor did not write stays

    def notices(self) -> tuple[str, ...]:
        """nginx accepts one `worker_shutdown_timeout`, so Conductor sets none if the operator's configuration does."""
        place = self._own_timeout()
        if place is None:
            return ()
        return (f"host.nginx.longest_connection has no effect: {place} sets worker_shutdown_timeout itself",)

    def _own_timeout(self) -> str | None:
        """Return the file in which the operator sets `worker_shutdown_timeout`, if any."""
        found = grammar.of_file(Path(self._host.nginx.config))
        others = (one.path for one in found if one.name == "worker_shutdown_timeout")
        return next((path for path in others if Path(path) != self._drop_in_path), None)

    @property
    def _drop_in_path(self) -> Path:
        """A file that Debian's nginx.conf includes in the main context."""
        return Path(self._host.nginx.config).parent / "modules-enabled" / "90-conductor.conf"

    def _files(self, routes: Collection[Route]) -> dict[str, ServiceFile]:
        return {route.service: ServiceFile(self._renderer.route(route), route.endpoints) for route in routes}

    def _present_file(self, service: str, present: Mapping[str, str]) -> ServiceFile:
        text = present.get(file_name(service))
        return ServiceFile(text, self._record.endpoints(service, text))

    def _candidate(self, present: Mapping[str, str], changes: Mapping[str, ServiceFile]) -> dict[str, str]:
        return self._renderer.candidate(present, {file_name(service): file.text for service, file in changes.items()})

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the nginx lock. A flag that is there now was left by a killed process."""
        with self._locks.hold("nginx", NGINX_SECONDS):
            self._directory.make_directories()
            self._directory.sweep()
            files.remove(self._renderer.flag)
            yield


def _server(route: Route) -> Server | None:
    nginx = route.definition.service.nginx
    return nginx.server if nginx else None


def reboot_warnings(installed: Iterable[ManagedFile]) -> tuple[str, ...]:
    """Return a warning when the directories that nginx needs at its start would be missing after a reboot."""
    absent = (file.path for file in installed if file.path.parent == TMPFILES and file.present is None)
    return tuple(
        f"nginx cannot start after a reboot: {path} is missing; run conductor nginx install" for path in absent
    )


def _own(changes: Mapping[str, ServiceFile]) -> tuple[str, ...]:
    """Return the names of the files that a change of these services writes."""
    return (*map(file_name, changes), *INCLUDES, OWN_FILE)


def _texts(found: Mapping[str, ServiceFile]) -> tuple[str, ...]:
    return tuple(file.text for file in found.values() if file.text)


def _cutover(state: ReloadState) -> Cutover:
    return Cutover(implementation="reload", state=msgspec.to_builtins(state))


def _state(cutover: Cutover) -> ReloadState:
    if cutover.implementation != "reload":
        raise ConductorError(f"cannot continue a cutover of {cutover.implementation!r} with nginx reloads")
    return msgspec.convert(cutover.state, ReloadState)


def _read(path: Path) -> str | None:
    return path.read_text(errors="replace") if path.is_file() else None
