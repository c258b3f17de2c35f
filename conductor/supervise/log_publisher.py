"""Publishes the latest log lines of each service for `conductor web`, in a thread of its own, if `host.web.logs` is true.

The thread reads one service after the other, and waits in proportion to the CPU time that it used. Its cost therefore depends
neither on the number of services nor on what they print.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from typing import cast

import msgspec

from conductor.change.context import Context
from conductor.errors import ConductorError
from conductor.logs.replica_log import Entry
from conductor.logs.service_logs import Selection, ServiceLogs
from conductor.output.printable import printable
from conductor.plan.log import LogLine
from conductor.runtime.port import Runtime
from conductor.snapshot.published import PublishedLine, PublishedLog, log_path, published_path, without_credentials
from conductor.supervise import public_files
from conductor.supervise.log import SupervisorLog
from conductor.supervise.observe import HostObservation
from conductor.supervise.public_snapshot import ObservedRuntime
from conductor.supervise.thread_name import name_thread

SUBJECT = "log lines of the status page"  # in the log; no service id contains a space
THREAD = "log-publisher"
SERVICE_LINES = 100
HOST_LINES = 10_000  # of all services; beyond 100 services, each has fewer lines
LINE_CHARACTERS = 400
MESSAGE_BYTES = 16 * 1024  # Docker stores a longer line as several messages, and counts messages
ROUND_SECONDS = 5.0  # each service is read at most once in this time
PAUSE_TIMES = 500.0  # the thread waits this many times as long as it works, and so uses at most 0.2% of a core
BURST_SECONDS = 30.0  # of pauses that the thread may leave out at first, and after a time with less work


class LogRuntime(ObservedRuntime):
    """The part of `Runtime` that reading logs needs."""

    def environment(self, container: str) -> dict[str, str]:
        """Return a container's variables, whose secrets are removed from its lines."""
        return self._runtime.environment(container)

    def read_log(self, container: str, *, since: str, tail: int) -> Iterator[LogLine]:
        """Yield at most the last `tail` lines since a time, without a first line that may be the end of a longer one.

        A secret at the start of such a rest would not be found.
        """
        lines = list(self._runtime.read_log(container, since=since, tail=tail + 1))
        messages = sum(1 + len(line.text.encode()) // MESSAGE_BYTES for line in lines)
        yield from lines[messages > tail :]


class LogTail:
    """The latest lines of one service, at most `most`. Each line is read once, until other containers or kept logs appear."""

    def __init__(self, context: Context, observed: HostObservation, service: str, most: int) -> None:
        self._logs = ServiceLogs(context, observed.definitions, service, Selection(tail=most))
        self._lines: deque[PublishedLine] = deque(maxlen=most)
        self._complete = True
        self._service = service

    def read(self) -> PublishedLog:
        """Read new lines, and return all."""
        self._lines.extend(map(self._line, self._logs.history(self._warn)))
        return PublishedLog(complete=self._complete, lines=tuple(self._lines))

    def _warn(self, _sentence: str) -> None:  # it may quote what a damaged log contains
        self._complete = False

    def _line(self, entry: Entry) -> PublishedLine:
        whole = entry.line.text[: 3 * LINE_CHARACTERS].encode(errors="replace")  # so that no password is cut and stays
        text = printable(without_credentials(whole).decode())
        cut = len(text) > LINE_CHARACTERS or len(entry.line.text) > 3 * LINE_CHARACTERS
        replica = entry.replica.removeprefix(f"{self._service}-")
        return PublishedLine(
            time=entry.line.time, replica=replica, text=f"{text[: LINE_CHARACTERS - 1]}…" if cut else text
        )


class LogPublisher:
    """Writes the lines of each service into a file beside the document, and removes the files of all others.

    `most` is the number of lines of all services together.
    """

    def __init__(
        self, passes: Context, log: SupervisorLog, ended: threading.Event | None = None, most: int = HOST_LINES
    ) -> None:
        self._runtime = LogRuntime(passes.runtime)
        self._context = msgspec.structs.replace(passes, runtime=cast("Runtime", self._runtime))
        self._log = log
        self._document = published_path(passes.host.runtime_dir)
        self._enabled = passes.host.web.logs
        self._observed: HostObservation | None = None
        self._tails: dict[str, tuple[object, LogTail]] = {}
        self._written: dict[str, int] = {}  # the hashes of the files
        self._ended = ended or threading.Event()
        self._most = most
        self._free_at = float("-inf")  # when the pauses for all work so far are over

    def put(self, observed: HostObservation) -> None:
        """Publish the lines of the services that a pass saw. The first call starts the thread."""
        first, self._observed = self._observed is None, observed
        if first and not self._enabled:
            self._remove_others(frozenset())
        elif first:
            threading.Thread(target=self._work, name=THREAD, daemon=True).start()

    def end(self) -> None:
        """Publish no more lines."""
        self._ended.set()

    def _work(self) -> None:
        name_thread(THREAD)
        clock = self._context.clock
        while not self._ended.is_set():
            began = clock.monotonic()
            if self._observed is not None:
                self.publish(self._observed)
            self._ended.wait(max(0.0, began + ROUND_SECONDS - clock.monotonic()))

    def publish(self, observed: HostObservation) -> None:
        """Publish the lines of all services once, with pauses. If a pass ends meanwhile, the rest is as that pass saw it."""
        services = observed.services | frozenset(observed.definitions.ids)
        self._remove_others(services)
        for service in sorted(services):
            began = self._context.clock.thread_cpu()
            try:
                self._publish(self._observed or observed, service, min(SERVICE_LINES, self._most // len(services)))
                self._log.recovered(SUBJECT)
            except ConductorError:  # Docker is not responding, or the disk is full: passes report it
                self._tails.pop(service, None)
            except Exception as error:  # noqa: BLE001 (a bug must not end the thread)
                self._tails.pop(service, None)
                self._log.failed(SUBJECT, error)
            if self._ended.wait(self._pause(self._context.clock.thread_cpu() - began)):
                return

    def _pause(self, used: float) -> float:
        """Return how long to wait after this much CPU time, in seconds."""
        now = self._context.clock.monotonic()
        self._free_at = max(self._free_at, now - BURST_SECONDS) + PAUSE_TIMES * used
        return max(0.0, self._free_at - now)

    def _publish(self, observed: HostObservation, service: str, most: int) -> None:
        self._runtime.seen = observed.containers
        names = tuple(one.name for one in observed.containers.replicas if one.service == service)
        key = (names, self._context.store.kept_logs(service), most)
        before, tail = self._tails.get(service, (None, None))
        if tail is None or before != key:
            tail = LogTail(self._context, observed, service, most)
            self._tails[service] = (key, tail)
        data = msgspec.json.encode(tail.read())
        path = log_path(self._document, service)
        if self._written.get(service) != hash(data):
            public_files.write(self._document, path, data)
            self._written[service] = hash(data)

    def _remove_others(self, services: frozenset[str]) -> None:
        names = {log_path(self._document, service).name for service in services}
        with contextlib.suppress(OSError):  # the directory does not exist
            for path in log_path(self._document, "any").parent.iterdir():
                if path.name not in names:
                    path.unlink()
        for service in self._tails.keys() - services:
            del self._tails[service]
        for service in self._written.keys() - services:  # also those whose log could not be read last
            del self._written[service]
