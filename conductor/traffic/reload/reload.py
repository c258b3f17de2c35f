"""The swap: nginx moved to other addresses by a reload, announced before, proven after, and drained by proof (DESIGN 6)."""

import contextlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import msgspec

from conductor.clock import Clock
from conductor.definitions.model import Host
from conductor.errors import ConductorError
from conductor.plan.values import Cutover, Worker
from conductor.state import files
from conductor.state.locks import Locks
from conductor.traffic.nginx import Nginx, NginxNotRunning
from conductor.traffic.port import Drained
from conductor.traffic.reload import processes
from conductor.traffic.reload.drain import look
from conductor.traffic.reload.include_dir import Tree, of_services
from conductor.traffic.render import STAMP, Former, Renderer, Route

PROVE_SECONDS = 20  # a large configuration takes nginx seconds to read; a failed one is told sooner by its log
LOCK_SECONDS = 120  # other services' cutovers of this host go first; each takes about a second
ANNOUNCE_LEAST_SECONDS = 0.1  # a busy client needs this long to be told (measured)
POLL_SECONDS = 0.01
DRAIN_POLL_SECONDS = 0.2  # the longest pause between two looks at old workers
LOOK_CLOSER_SECONDS = 1.0  # most old workers are gone by then; what holds up the others is looked into
# nginx waits 100 ms between starting a generation's workers and stopping the last one's: within half of that is one.
GENERATION_TICKS = 5
_ONE_CLIENT_MANY_UPSTREAMS = re.compile(
    r"\b(http2|http3|quic|auth_request|mirror|ssi|slice|add_before_body|add_after_body|\w+_by_lua\w*|js_\w+"
    r"|proxy_intercept_errors|proxy_cache_background_update)\b"
)


class ReloadTraffic:
    """Implements `Traffic` with plain nginx."""

    def __init__(self, host: Host, locks: Locks, clock: Clock) -> None:
        self._announce_seconds = host.nginx.announce
        self._renderer = Renderer(host)
        self._nginx = Nginx(host.nginx, self._renderer.status_socket, self._renderer.unavailable)
        self._tree = Tree(host.nginx, self._renderer, self._nginx)
        self._locks = locks
        self._clock = clock

    def check(self, routes: tuple[Route, ...]) -> None:
        """With the files that the cutover would write lying over the real ones, in a namespace of our own."""
        self._tree.make_directories()
        self._nginx.master(self._tree.checked(self._tree.candidate(routes)))

    def in_force(self, routes: tuple[Route, ...]) -> bool:
        """By bytes on disk and by the generation that a worker answers."""
        return self._is_in_force(self._tree.candidate(routes))

    def _is_in_force(self, candidate: dict[str, str]) -> bool:
        return candidate == self._tree.present() and self._nginx.generation() == self._renderer.generation(candidate)

    def living(self, workers: Iterable[Worker]) -> frozenset[Worker]:
        """By pid and start time."""
        return frozenset(worker for worker in workers if processes.alive(worker))

    def served(self, service: str) -> frozenset[str]:
        """By its file on disk."""
        return self._tree.served(service)

    def known(self) -> frozenset[str]:
        """By the files on disk."""
        return self._tree.known()

    def texts(self, routes: tuple[Route, ...]) -> dict[str, tuple[str, str | None]]:
        """Only the files that Conductor writes."""
        present = self._tree.present()
        wanted = self._tree.candidate(routes)
        return {name: (text, present.get(name)) for name, text in wanted.items() if text.startswith(STAMP)}

    def drop_in(self) -> dict[Path, tuple[str, str | None]]:
        """By its path."""
        return self._tree.drop_in()

    def switch(self, to: tuple[Route | Former, ...], ahead: Callable[[Cutover], None], *, force: bool) -> None:
        """Under the nginx lock, so that one flag and one reload are under way at a time."""
        with self._alone():
            candidate, present = self._tree.candidate(to), self._tree.present()
            dump = self._tree.checked(candidate)
            master = self._nginx.master(dump)
            former = {one.file_name: present.get(one.file_name) for one in to}
            workers, done = processes.workers(master), not force and self._is_in_force(candidate)
            if done:  # an earlier reload may still be draining
                listeners = processes.listeners(master)
                workers = frozenset(worker for worker in workers if not processes.listens(worker, listeners))
            texts = [dump, *(text for text in former.values() if text)]
            cutover = Cutover(
                workers=tuple(sorted(workers)),
                files=former,
                ports=tuple(sorted(processes.listening_ports(master))),
                plain=not any(_ONE_CLIENT_MANY_UPSTREAMS.search(text) for text in texts),
            )
            if done:
                ahead(cutover)
                return
            ahead(cutover)
            self._tree.place(candidate)
            left = self._reload(dump, master, self._renderer.generation(candidate))
            ahead(msgspec.structs.replace(cutover, workers=left))

    def install(self, routes: tuple[Route, ...], defined: Collection[str]) -> tuple[str, ...]:
        """Also the drop-in for the main context. What nginx does not take is taken back."""
        with self._alone():
            present = self._tree.present()
            ours = of_services(name for name, text in present.items() if text.startswith(STAMP))
            gone = tuple(Former(name, None) for name in ours if name.removesuffix(".conf") not in defined)
            try:
                candidate = self._tree.candidate((*routes, *gone))
                dump = self._tree.checked(candidate, drop_in=True)
            except ConductorError:  # something refers to what is gone
                candidate = self._tree.candidate(routes)
                dump = self._tree.checked(candidate, drop_in=True)
            changed = self._tree.place(candidate) + self._tree.place_drop_in()
            with contextlib.suppress(NginxNotRunning):
                master, generation = self._nginx.master(dump), self._renderer.generation(candidate)
                if changed or self._nginx.generation() != generation:
                    self._reload_or_put_back(dump, master, generation, present)
            return changed

    def _reload_or_put_back(self, dump: str, master: int, generation: str, present: dict[str, str]) -> None:
        try:
            self._reload(dump, master, generation)
        except ConductorError:
            self._tree.place(present)
            self._nginx.reload(master)
            raise

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """The nginx lock; a flag that stands when it is ours is a dead process's."""
        with self._locks.hold("nginx", LOCK_SECONDS):
            self._tree.make_directories()
            self._tree.sweep()
            files.remove(self._renderer.flag)
            yield

    def _reload(self, dump: str, master: int, generation: str) -> tuple[Worker, ...]:
        """Announce, reload, prove; the workers of before that still live. Between signal and proof nothing interrupts:
        a flag that goes too early costs requests.
        """
        with self._announced(), self._clock.shielded("nginx is reloading, one moment"):
            before = processes.workers(master)  # again: somebody else may have reloaded in the meantime
            log = _Tail(self._nginx.error_log(dump))
            listeners = processes.listeners(master)
            self._nginx.reload(master)
            return self._prove(master, before, listeners | processes.listeners(master), generation, log)

    @contextlib.contextmanager
    def _announced(self) -> Iterator[None]:
        """Every response closes its connection: until no other one is left, at most `announce`; then the reload.

        Earlier only when all requests from before the flag, which were promised a kept connection, have been seen to be
        over, and then no connection idles: idle ones alone do not show a slow request that is yet to end. The flag stays
        until old workers have stopped listening: removed with the signal, a run that had 0 errors had 90.
        """
        files.write_bytes(self._renderer.flag, b"", 0o644)
        try:
            if self._nginx.announced() is False:
                raise ConductorError(
                    f"cannot announce the reload: nginx's workers do not see {self._renderer.flag}",
                    "let their user pass its directories (0755)",
                )
            until = self._clock.monotonic() + self._announce_seconds
            self._clock.wait(min(ANNOUNCE_LEAST_SECONDS, self._announce_seconds))
            all_told = False
            while self._clock.monotonic() < until:
                under_way, idle = self._nginx.clients() or (2, 1)
                all_told = all_told or under_way <= 1
                if all_told and idle == 0:
                    break
                self._clock.wait(POLL_SECONDS)
            yield
        finally:
            files.remove(self._renderer.flag)

    def _prove(
        self, master: int, before: frozenset[Worker], listeners: frozenset[int], generation: str, log: "_Tail"
    ) -> tuple[Worker, ...]:
        """A new worker says the new generation, and no worker of an older one holds any of `listeners`."""
        until = self._clock.monotonic() + PROVE_SECONDS
        while self._clock.monotonic() < until and not log.says_failed():
            said, pid = self._nginx.answering() or ("", 0)
            living = processes.workers(master)
            new = next((worker for worker in living - before if worker.pid == pid), None)
            if said == generation and new is not None:
                older = [worker for worker in living if worker.started < new.started - GENERATION_TICKS]
                if not any(processes.listens(worker, listeners) for worker in older):
                    return tuple(sorted(older))
            self._clock.wait(POLL_SECONDS)
        raise ConductorError(
            "cannot prove that nginx took the new configuration: it was told to reload, and its workers do not say so",
            "its error log has the reason; a port held by another program is the usual one",
            log.errors(),
        )

    def drain(
        self, cutover: Cutover, addresses: tuple[str, ...], seconds: float, waiting: Callable[[str], None]
    ) -> Drained:
        """Until every old worker is gone, or each survivor's clients are all tied to other addresses, seen twice."""
        began, pause, harmless = self._clock.monotonic(), POLL_SECONDS, 0
        while left := tuple(worker for worker in cutover.workers if processes.alive(worker)):
            waited = self._clock.monotonic() - began
            seen = [
                look(held, cutover.ports, addresses, unix=processes.has_unix_clients(worker))
                for worker, held in zip(left, processes.connections(left), strict=True)
            ]
            calm = cutover.plain and waited > LOOK_CLOSER_SECONDS and all(view.harmless for view in seen)
            harmless = harmless + 1 if calm else 0
            if harmless >= 2:
                return Drained(survivors=left)
            if waited >= seconds:
                cut, silent = sum(v.to_old for v in seen), sum(v.silent for v in seen)
                return Drained(survivors=left, cut=cut, silent=silent)
            waiting(f"{len(left)} old nginx workers, {sum(v.to_old for v in seen)} requests with old containers")
            self._clock.wait(pause)
            pause = min(pause * 1.5, DRAIN_POLL_SECONDS)
        return Drained()


class _Tail:
    """What nginx adds to its error log from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._from = path.stat().st_size if path.is_file() else 0

    def errors(self) -> tuple[str, ...]:
        """New lines of level emerg or alert."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._from)
                lines = stream.read(100_000).decode(errors="replace").splitlines()
        except OSError:
            return ()
        return tuple(dict.fromkeys(line for line in lines if "[emerg]" in line or "[alert]" in line))[:5]

    def says_failed(self) -> bool:
        """Whether the master has given the reload up; single failed binds are tried again by nginx."""
        return any("[emerg]" in line and ("bind()" not in line or "still could not" in line) for line in self.errors())
