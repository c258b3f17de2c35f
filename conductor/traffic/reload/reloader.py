"""One reload of nginx: announced before, verified after."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.state import files
from conductor.traffic import processes
from conductor.traffic.nginx import Nginx
from conductor.traffic.processes import Worker

PROVE_SECONDS = 20.0  # nginx needs seconds to read a large configuration; its error log reports a failure earlier
MIN_ANNOUNCE_SECONDS = 0.1  # a busy client needs this long to receive "Connection: close" (measured)
POLL_SECONDS = 0.01
# nginx waits 100 ms between starting a generation's workers and stopping the one before: half of that is one generation.
GENERATION_TICKS = 5


class Reloader:
    """Reloads one nginx. `flag` is the announce flag, `announce_seconds` its longest time."""

    def __init__(
        self, nginx: Nginx, flag: Path, announce_seconds: float, clock: Clock, cancellation: Cancellation
    ) -> None:
        self._nginx = nginx
        self._flag = flag
        self._announce_seconds = announce_seconds
        self._clock = clock
        self._cancellation = cancellation

    def reload(self, dump: str, master: int, generation: str) -> frozenset[Worker]:
        """Announce, reload, prove; return the workers from before that still live. `dump` is the checked configuration.

        Nothing interrupts between the signal and the proof: a flag that is removed too early loses requests.
        """
        with self._announced(), self._cancellation.shielded("nginx is reloading; this cannot be interrupted"):
            before = processes.workers(master)  # again: another program may have reloaded nginx meanwhile
            log = ErrorLog(self._nginx.error_log(dump, master), master)
            listeners = processes.listeners(master)
            self._nginx.reload(master)
            return self._prove(master, before, listeners | processes.listeners(master), generation, log)

    def reload_back(self, dump: str, master: int, generation: str | None) -> None:
        """Load the former files after a reload that failed, whose error the caller raises.

        With `generation` None, nothing in them announces or proves a reload.
        """
        if generation is None:
            self._nginx.reload(master)
            return
        with contextlib.suppress(ConductorError):
            self.reload(dump, master, generation)

    @contextlib.contextmanager
    def _announced(self) -> Iterator[None]:
        """Close the connection after every response, until no idle connection is left or the announce time has passed.

        It ends early only once all requests from before the flag have ended: their connections were promised to stay open.
        The flag is removed after the old workers have stopped listening: removed with the signal, a run with 0 lost
        requests lost 90 (measured).
        """
        files.write_bytes(self._flag, b"", 0o644)
        try:
            if self._nginx.status.announced() is False:
                raise ConductorError(
                    f"cannot announce the reload: nginx's workers cannot see {self._flag}",
                    f"chmod 755 {self._flag.parent.parent} {self._flag.parent}",
                )
            until = self._clock.monotonic() + self._announce_seconds
            self._cancellation.wait(min(MIN_ANNOUNCE_SECONDS, self._announce_seconds))
            earlier_ended = False
            while self._clock.monotonic() < until:
                active, idle = self._nginx.status.clients() or (2, 1)
                earlier_ended = earlier_ended or active <= 1
                if earlier_ended and idle == 0:
                    break
                self._cancellation.wait(POLL_SECONDS)
            yield
        finally:
            files.remove(self._flag)

    def _prove(
        self, master: int, before: frozenset[Worker], listeners: frozenset[int], generation: str, log: "ErrorLog"
    ) -> frozenset[Worker]:
        """Wait until a new worker answers with the new generation, and no older worker has any of `listeners` open.

        nginx may be busy with a reload for another program, which may have read the new files too. It stops the workers that
        it starts then as soon as it receives Conductor's signal.
        """
        until = self._clock.monotonic() + PROVE_SECONDS
        while self._clock.monotonic() < until and not log.reload_failed():
            living = processes.workers(master)
            if processes.reloads_later(master):
                before = living
            answered, pid = self._nginx.status.answering() or ("", 0)
            new = next((worker for worker in living - before if worker.pid == pid), None)
            if answered == generation and new is not None:
                older = [worker for worker in living if worker.started < new.started - GENERATION_TICKS]
                if not any(processes.listens(worker, listeners) for worker in older):
                    return frozenset(older)
            self._cancellation.wait(POLL_SECONDS)
        raise ConductorError(
            "cannot verify that nginx loaded the new configuration: no new worker reports it",
            "read nginx's error log; the usual cause is a port that another program is using",
            log.errors(),
        )


class ErrorLog:
    """What nginx's master adds to its error log from now on. An `nginx -t` of a colleague writes to the same file."""

    def __init__(self, path: Path, master: int) -> None:
        self._path = path
        self._master = master
        self._start = path.stat().st_size if path.is_file() else 0

    def errors(self) -> tuple[str, ...]:
        """Return the master's new lines of level emerg or alert, at most five."""
        try:
            with self._path.open("rb") as stream:
                stream.seek(self._start)
                lines = stream.read(100_000).decode(errors="replace").splitlines()
        except OSError:
            return ()
        marks = tuple(f"[{level}] {self._master}#" for level in ("emerg", "alert"))
        return tuple(dict.fromkeys(line for line in lines if any(mark in line for mark in marks)))[:5]

    def reload_failed(self) -> bool:
        """True when the master has abandoned the reload. It retries a failed bind() by itself."""
        return any("[emerg]" in line and ("bind()" not in line or "still could not" in line) for line in self.errors())
