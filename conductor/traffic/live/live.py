"""Implements the traffic port without a reload for a change of peers; whatever else changes is reloaded as `reload` does."""

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

import msgspec

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.definitions.host import Host
from conductor.errors import ConductorError
from conductor.plan.canary import Comparison
from conductor.plan.route import Cutover, Route
from conductor.state.locks import Locks
from conductor.traffic.live.dictionary import Dictionary, with_connection
from conductor.traffic.live.drain import wait_for_requests
from conductor.traffic.live.module import explained, require_libraries, require_readable, uncounted
from conductor.traffic.nginx import Checked
from conductor.traffic.peers import Peers, differ, peers_of, with_generation
from conductor.traffic.port import Drained, Draining, TrafficRefused, Unreached
from conductor.traffic.processes import Worker
from conductor.traffic.reload.change import Change, ReloadState, ServiceFile, cutover_of, own_files, state_of
from conductor.traffic.reload.include_dir import services_of
from conductor.traffic.reload.reload import ReloadTraffic
from conductor.traffic.render import file_name

SEEN_SECONDS = 0.5  # how long an answer of nginx is reused while a pass looks at all services


class LiveTraffic(ReloadTraffic):
    """Implements `Traffic`. A service's file has its peers; nginx's workers choose among these, or among later ones that
    were set in its memory.

    A file without peers (`cutover: reload`, or maintenance) is changed by a reload, as before: its host may be moving from
    one way to the other.
    """

    implementation = "live"

    def __init__(self, host: Host, locks: Locks, clock: Clock, cancellation: Cancellation) -> None:
        super().__init__(host, locks, clock, cancellation)
        self._dictionary = Dictionary(self._nginx)
        self._seen: tuple[float, dict[str, Peers]] = (-1.0, {})

    def serving(self, service: str) -> frozenset[str]:
        """Return what nginx uses, where that differs from the file on disk."""
        on_disk = peers_of(self._directory.read(file_name(service)))
        if on_disk is None or self._in_nginx(service) in {None, on_disk}:
            return super().serving(service)
        self._seen = (-1.0, {})  # it may have changed since
        used = self._in_nginx(service)
        return super().serving(service) if used in {None, on_disk} else used.all_endpoints if used else frozenset()

    def _in_nginx(self, service: str) -> Peers | None:
        at, found = self._seen
        now = self._clock.monotonic()
        if not at <= now < at + SEEN_SECONDS:
            found = self._dictionary.peers()
            self._seen = (now, found)
        return found.get(service)

    def compared(self, service: str) -> Comparison:
        """Read what nginx's workers have counted for the peers on disk."""
        peers = peers_of(self._directory.read(file_name(service)))
        return self._dictionary.compared(peers) if peers else Comparison()

    def known(self) -> frozenset[str]:
        """Add the endpoints that have a request in progress."""
        known = super().known()
        others = [one for one in self._dictionary.requests() or () if one.address not in known]
        return known | {one.address for one in with_connection(others)}

    def _not_loaded(self) -> Mapping[str, ServiceFile]:
        """Peers in nginx that are later than those on disk are replaced by these, which get a new generation."""
        present, used = self._directory.present(), self._dictionary.peers()
        files = {service: self._present_file(service, present) for service in services_of(present)}
        return {
            service: file
            for service, file in files.items()
            if (peers := self._written(service, file.text)) and used.get(service) != peers
        }

    def _written(self, service: str, text: str | None) -> Peers | None:
        """Return the peers in a service's file, unless another program or an operator has written them."""
        peers = peers_of(text)
        return peers if peers and peers.service == service and self._record.knows(service, text or "") else None

    def _all_written(self, files: Mapping[str, str]) -> list[Peers]:
        found = (self._written(service, files[file_name(service)]) for service in services_of(files))
        return [peers for peers in found if peers]

    def drain(
        self, cutover: Cutover, endpoints: Collection[str], seconds: float, progress: Callable[[Draining], None]
    ) -> Drained:
        """Wait for old workers that do not follow a change of peers, then for the requests in progress."""
        began = self._clock.monotonic()
        first = super().drain(cutover, endpoints, seconds, progress)
        left = seconds - (self._clock.monotonic() - began)
        cut = wait_for_requests(
            self._dictionary, endpoints, state_of(cutover).workers, self._nginx.has_master, seconds=left, clock=self._clock,
            cancellation=self._cancellation, progress=progress,
        )  # fmt: skip
        return msgspec.structs.replace(first, cut=first.cut + (cut or 0), unknown=cut is None)

    def _in_force(self, candidate: Mapping[str, str], present: Mapping[str, str]) -> bool:
        """After a restart of nginx, its memory is empty; then the peers on disk are set."""
        if not super()._in_force(candidate, present):
            return False
        used, on_disk = self._dictionary.peers(), self._all_written(candidate)
        with contextlib.suppress(ConductorError):
            self._dictionary.set([one for one in on_disk if one.service not in used])
            return all(used.get(one.service, one) == one for one in on_disk)
        return False

    def _make(
        self, change: Change, record: Callable[[Cutover], None], *, force: bool, routes: Collection[Route]
    ) -> tuple[Unreached, ...]:
        """Set the peers without a reload, if nothing else changes and nginx has loaded everything else."""
        if force or not self._changes_only_peers(change):
            return super()._make(change, record, force=force, routes=routes)
        self._nginx.refuse_second_master()
        state = ReloadState(workers=tuple(sorted(self._record.apart())), former=dict(change.former), reloads=False)
        record(cutover_of(self.implementation, state))
        self._record.begin(change.versions)
        if not self._in_force(change.candidate, change.present):
            self._directory.place(change.candidate, own_files(change.changes))
            changed = (peers for file in change.changes.values() if (peers := peers_of(file.text)))
            self._set(change.candidate, changed)
            record(cutover_of(self.implementation, state))
        self._record.complete(change.versions, state.workers)
        return ()

    def _changes_only_peers(self, change: Change) -> bool:
        generation = self._renderer.generation(change.candidate)
        return not differ(change.present, change.candidate) and self._nginx.status.generation() == generation

    def _set(self, candidate: Mapping[str, str], changed: Iterable[Peers] = ()) -> None:
        """Set the peers in `changed`, and others on disk that are later than those in nginx. `load` repairs earlier ones."""
        used = self._dictionary.peers()
        later = (
            one
            for one in self._all_written(candidate)
            if one.service not in used or used[one.service].generation < one.generation
        )
        self._dictionary.set({*changed, *later})
        self._seen = (-1.0, {})

    def _warnings(self, dump: str, routes: Collection[Route]) -> tuple[str, ...]:
        return super()._warnings(dump, routes) + uncounted(dump)

    def _check(self, candidate: Mapping[str, str], overlays: Mapping[Path, str] | None = None) -> Checked:
        try:
            checked = super()._check(candidate, overlays)
        except TrafficRefused as refused:
            raise explained(refused) from refused
        require_libraries(self._nginx, checked.dump, self._directory.drafts)
        require_readable(self._directory.path)
        return checked

    def verify(self, routes: Collection[Route]) -> tuple[str, ...]:
        """Also let nginx load the libraries that its Lua module needs."""
        require_libraries(self._nginx, self._directory.check_in_place().dump, self._directory.drafts)
        return super().verify(routes)

    def _reload(self, dump: str, master: int, candidate: Mapping[str, str]) -> frozenset[Worker]:
        """Set the peers before the reload, for the workers that run, and after it, for those that it started."""
        if self._dictionary.is_there():
            self._set(candidate)
        workers = super()._reload(dump, master, candidate)
        self._set(candidate)
        return workers

    def _edits(self, dump: str, master: int, workers: Collection[Worker]) -> tuple[str, ...]:
        """Leave out the include directory, which changes without a reload. Its generation shows other changes of its files."""
        include_dir = str(self._directory.path)
        return tuple(path for path in super()._edits(dump, master, workers) if not path.startswith(include_dir))

    def _to_drain(self, workers: frozenset[Worker], change: Change) -> frozenset[Worker]:
        """Workers from before a change of a file without peers do not follow what is set; all others do."""
        if any(
            _is_fixed(change.now[service]) or peers_of(file.text) is None
            for service, file in change.changes.items()
            if change.now[service] != file
        ):
            self._record.add_apart(workers)
        return self._record.apart()

    def _numbered(self, changes: Mapping[str, ServiceFile], present: Mapping[str, str]) -> Mapping[str, ServiceFile]:
        """Keep the generation of peers that are in place, and give all others a later one than any before."""
        used = self._dictionary.peers()
        return {
            service: msgspec.structs.replace(file, text=self._with_generation(file.text, present, used))
            for service, file in changes.items()
        }

    def _with_generation(self, text: str | None, present: Mapping[str, str], used: Mapping[str, Peers]) -> str | None:
        peers = peers_of(text)
        if text is None or peers is None:
            return text
        now = present.get(file_name(peers.service), "")
        on_disk, set_now = peers_of(now), used.get(peers.service)
        last = max((one.generation for one in (on_disk, set_now) if one), default=0)
        if on_disk and last == on_disk.generation and with_generation(text, last) == now:
            return now
        return with_generation(text, max(last + 1, int(self._clock.wall() * 1000)))


def _is_fixed(file: ServiceFile) -> bool:
    """True when the file has endpoints that nginx chooses among without Lua."""
    return bool(file.endpoints) and peers_of(file.text) is None
