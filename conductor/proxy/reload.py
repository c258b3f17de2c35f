"""The swap: nginx moved to other addresses by a reload, announced before, proven after, and drained by proof (DESIGN 6)."""

import contextlib
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from conductor.clock import Clock
from conductor.definitions.model import Host
from conductor.errors import ConductorError
from conductor.plan.values import Worker
from conductor.proxy import processes
from conductor.proxy.drain import look
from conductor.proxy.nginx import Nginx, NginxNotRunning
from conductor.proxy.ports import Drained
from conductor.proxy.render import OWN, STAMP, Renderer, Site
from conductor.state import files
from conductor.state.locks import Locks

PROVE_SECONDS = 20  # a large configuration takes nginx seconds to read; a failed one is told sooner by its log
LOCK_SECONDS = 120  # other services' cutovers of this host go first; each takes about a second
ANNOUNCE_LEAST_SECONDS = 0.1  # a busy client needs this long to be told (measured)
POLL_SECONDS = 0.01
DRAIN_POLL_SECONDS = 0.2  # the longest pause between two looks at old workers
LOOK_CLOSER_SECONDS = 1.0  # most old workers are gone by then; looking into the others costs a check of the tree
_ONE_CLIENT_MANY_UPSTREAMS = re.compile(r"\b(http2|auth_request|mirror|ssi|slice|add_before_body|add_after_body)\b")


class ReloadProxy:
    """Implements `Proxy` with plain nginx."""

    def __init__(self, host: Host, locks: Locks, clock: Clock) -> None:
        self._host = host.nginx
        self._include_dir = Path(host.nginx.include_dir)
        self._renderer = Renderer(host)
        self._nginx = Nginx(host.nginx, self._renderer.status_socket, self._renderer.unavailable)
        self._locks = locks
        self._clock = clock

    def check(self, sites: tuple[Site, ...]) -> None:
        """With the files that the cutover would write lying over the real ones, in a namespace of our own."""
        self._make_directories()
        self._nginx.master(self._dump(self._candidate(sites)))

    def in_force(self, sites: tuple[Site, ...]) -> bool:
        """By bytes on disk and by the generation that a worker answers."""
        candidate = self._candidate(sites)
        return candidate == self._present() and self._nginx.generation() == self._renderer.generation(candidate)

    def living(self, workers: Iterable[Worker]) -> frozenset[Worker]:
        """By pid and start time."""
        return frozenset(worker for worker in workers if processes.alive(worker))

    def switch(self, sites: tuple[Site, ...], ahead: Callable[[tuple[Worker, ...]], None], *, force: bool) -> None:
        """Under the nginx lock, so that one flag and one reload are under way at a time."""
        with self._alone():
            candidate = self._candidate(sites)
            generation = self._renderer.generation(candidate)
            dump = self._dump(candidate)
            master = self._nginx.master(dump)
            if not force and candidate == self._present() and self._nginx.generation() == generation:
                ahead(())
                return
            before = processes.workers(master)
            ahead(tuple(sorted(before)))
            self._place(candidate)
            self._reload(dump, master, before, generation)

    def install(self, sites: tuple[Site, ...], gone: tuple[str, ...]) -> tuple[str, ...]:
        """Also the drop-in for the main context; a file in `gone` that something still refers to stays."""
        with self._alone():
            candidate, drop_in = self._candidate(sites, gone), self._drop_in()
            try:
                dump = self._dump(candidate, drop_in)
            except ConductorError:
                candidate = self._candidate(sites)
                dump = self._dump(candidate, drop_in)
            changed = self._place(candidate) + self._place_drop_in(drop_in)
            with contextlib.suppress(NginxNotRunning):
                master = self._nginx.master(dump)
                generation = self._renderer.generation(candidate)
                if changed or self._nginx.generation() != generation:
                    self._reload(dump, master, processes.workers(master), generation)
            return changed

    def texts(self, sites: tuple[Site, ...]) -> dict[str, tuple[str, bool]]:
        """Only the files that Conductor writes."""
        present = self._present()
        files_ = self._renderer.candidate(present, sites)
        return {name: (text, present.get(name) == text) for name, text in files_.items() if text.startswith(STAMP)}

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """The nginx lock; a flag that stands when it is ours is a dead process's."""
        with self._locks.hold("nginx", LOCK_SECONDS):
            self._make_directories()
            self._renderer.flag.unlink(missing_ok=True)
            yield

    def _reload(self, dump: str, master: int, before: frozenset[Worker], generation: str) -> None:
        with self._announced():
            log = _Tail(self._nginx.error_log(dump))
            listeners = processes.listeners(master)
            self._nginx.reload(master)
            self._prove(master, before, listeners, generation, log)

    def _drop_in(self) -> tuple[Path, str] | None:
        """`worker_shutdown_timeout` for the main context, where the layout has a place for it (Debian's has)."""
        directory = Path(self._host.config).parent / "modules-enabled"
        text = f"{STAMP}worker_shutdown_timeout {int(self._host.longest_connection * 1000)}ms;\n"
        return (directory / "90-conductor.conf", text) if directory.is_dir() else None

    def _place_drop_in(self, drop_in: tuple[Path, str] | None) -> tuple[str, ...]:
        if drop_in is None or (drop_in[0].is_file() and drop_in[0].read_text() == drop_in[1]):
            return ()
        files.write_bytes(drop_in[0], drop_in[1].encode(), 0o644)
        return (drop_in[0].name,)

    def _candidate(self, sites: tuple[Site, ...], gone: tuple[str, ...] = ()) -> dict[str, str]:
        present = {name: text for name, text in self._present().items() if name not in gone}
        return self._renderer.candidate(present, sites)

    def _present(self) -> dict[str, str]:
        found = {}
        if self._include_dir.is_dir():
            for path in self._include_dir.iterdir():
                if path.is_file() and not path.name.startswith("."):
                    found[path.name] = path.read_text(errors="surrogateescape")
        return found

    def _dump(self, candidate: dict[str, str], drop_in: tuple[Path, str] | None = None) -> str:
        """The whole configuration with the candidate in place of the include directory, checked by nginx."""
        with tempfile.TemporaryDirectory(prefix="conductor-nginx-") as directory:
            included = Path(directory, "included")
            included.mkdir()
            for name, text in candidate.items():
                Path(included, name).write_text(text, errors="surrogateescape")
            overlays = {self._include_dir: included}
            if drop_in is not None:
                overlays[drop_in[0].parent] = shutil.copytree(drop_in[0].parent, Path(directory, "main"))
                Path(directory, "main", drop_in[0].name).write_text(drop_in[1])
            dump = self._nginx.check(overlays)
        if not re.search(rf"^# configuration file .*/{OWN}:$", dump, re.MULTILINE):
            raise ConductorError(
                f"cannot use nginx: {self._host.config} does not include {self._include_dir}/*.conf",
                f"write inside its http {{}}:  include {self._include_dir}/*.conf;",
            )
        return dump

    def _place(self, candidate: dict[str, str]) -> tuple[str, ...]:
        present = self._present()
        changed = [name for name, text in candidate.items() if present.get(name) != text]
        for name in changed:
            files.write_bytes(self._include_dir / name, candidate[name].encode(errors="surrogateescape"), 0o644)
        gone = [name for name in present if name not in candidate]
        for name in gone:
            files.remove(self._include_dir / name)
        return (*changed, *gone)

    def _make_directories(self) -> None:
        files.make_directory(self._include_dir, 0o755)
        files.make_directory(self._renderer.runtime, 0o755)  # workers look for the flag in it
        files.make_directory(self._renderer.status_socket.parent, 0o700)

    @contextlib.contextmanager
    def _announced(self) -> Iterator[None]:
        """Every response closes its connection: until no idle one is left, at most `announce`; then the reload.

        The flag stays until old workers have stopped listening: removed with the signal, a run that had 0 errors had 90.
        """
        files.write_bytes(self._renderer.flag, b"", 0o644)
        try:
            if self._nginx.announced() is False:
                raise ConductorError(
                    f"cannot announce the reload: nginx's workers do not see {self._renderer.flag}",
                    "let their user pass its directories (0755)",
                )
            until = self._clock.monotonic() + self._host.announce
            self._clock.wait(min(ANNOUNCE_LEAST_SECONDS, self._host.announce))
            while self._clock.monotonic() < until and self._nginx.waiting_clients() != 0:
                self._clock.wait(POLL_SECONDS)
            yield
        finally:
            self._renderer.flag.unlink(missing_ok=True)

    def _prove(
        self, master: int, before: frozenset[Worker], listeners: frozenset[int], generation: str, log: "_Tail"
    ) -> None:
        """New workers live, no old one holds any of `listeners`, and who answers says the new generation."""
        until = self._clock.monotonic() + PROVE_SECONDS
        while self._clock.monotonic() < until and not log.says_failed():
            fresh = processes.workers(master) - before
            listening = any(processes.listens(worker, listeners) for worker in before)
            if fresh and not listening and self._nginx.generation() == generation:
                return
            self._clock.wait(POLL_SECONDS)
        raise ConductorError(
            "cannot prove that nginx took the new configuration: it accepted the reload, and goes on with the old one",
            "its error log has the reason; a port held by another program is the usual one",
            log.errors(),
        )

    def drain(
        self, workers: tuple[Worker, ...], addresses: tuple[str, ...], seconds: float, waiting: Callable[[str], None]
    ) -> Drained:
        """Until every old worker is gone, or each survivor's clients are all tied to other addresses."""
        began, pause = self._clock.monotonic(), POLL_SECONDS
        simple, ports = False, frozenset[int]()
        while left := tuple(worker for worker in workers if processes.alive(worker)):
            waited = self._clock.monotonic() - began
            if waited > LOOK_CLOSER_SECONDS and not ports:
                simple, ports = self._traffic()
            seen = [look(held, ports, addresses) for held in processes.connections(left)]
            if simple and all(view.harmless for view in seen):
                return Drained(survivors=left)
            if waited >= seconds:
                cut, silent = sum(v.to_old for v in seen), sum(v.silent for v in seen)
                return Drained(survivors=left, cut=cut, silent=silent)
            waiting(f"{len(left)} old nginx workers, {sum(v.to_old for v in seen)} requests with old containers")
            self._clock.wait(pause)
            pause = min(pause * 1.5, DRAIN_POLL_SECONDS)
        return Drained()

    def _traffic(self) -> tuple[bool, frozenset[int]]:
        """Whether one client connection is one upstream connection in this configuration, and where clients arrive."""
        try:
            dump = self._nginx.check({})
            return not _ONE_CLIENT_MANY_UPSTREAMS.search(dump), processes.listening_ports(self._nginx.master(dump))
        except ConductorError:
            return (False, frozenset())  # somebody broke the tree meanwhile: only workers that are gone prove anything


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
