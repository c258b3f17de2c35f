"""Follows the logs of a service: replicas join and leave, and Docker may restart.

A thread reads the log of each replica. When its stream ends, it is read again from its position until the replica has exited
and its log was read to the end. What a removed replica printed last is in its kept log.
"""

import queue
import threading
from collections.abc import Iterator
from typing import NamedTuple

from conductor.errors import ConductorError
from conductor.logs.replica_log import Entry, ReplicaLog
from conductor.logs.service_logs import ServiceLogs, Warn
from conductor.plan.replica import Replica
from conductor.runtime.port import LogUnreadable, Runtime

POLL_SECONDS = 0.5  # between two lists of the replicas
GATHER_SECONDS = 0.1  # lines of several replicas that arrive within this time are sorted by their time stamps
WAITING_LINES = 10_000  # read and not printed yet: a slow reader of the output slows down the streams


class _Ended(NamedTuple):
    log: ReplicaLog
    exit: str  # when the replica had exited before the stream began, or empty
    error: BaseException | None


class Follower:
    """Yields the lines that `logs` has not read yet, without an end. Each problem is passed to `warn` once."""

    def __init__(self, runtime: Runtime, logs: ServiceLogs, warn: Warn, poll_seconds: float = POLL_SECONDS) -> None:
        self._runtime = runtime
        self._logs = logs
        self._warn = warn
        self._poll_seconds = poll_seconds
        self._queue: queue.Queue[Entry | _Ended] = queue.Queue(WAITING_LINES)
        self._reading: set[str] = set()  # the names of replicas whose streams are open
        self._existing = logs.existing()
        self._unreadable: set[str] = set()
        self._warned: set[str] = set()

    def entries(self) -> Iterator[Entry]:
        """Yield lines as they arrive."""
        clock, last = self._logs.clock, float("-inf")
        while True:
            if (now := clock.monotonic()) - last >= self._poll_seconds:
                last = now
                yield from self._poll()
            yield from self._arrived()

    def _poll(self) -> Iterator[Entry]:
        """Open the streams of replicas that can have new lines. Yield the rest of the logs of removed ones."""
        try:
            listed = self._logs.listed()
            for replica, log in listed:
                if log.name not in self._reading | self._unreadable:
                    self._open(replica, log)
        except ConductorError as error:  # Docker restarts: the position of each log is known
            self._warn_once(error.sentence)
            return
        removed = [log for name, log in self._existing.items() if name not in {log.name for _, log in listed}]
        for log in removed:
            if log.name not in self._reading:
                del self._existing[log.name]
                yield from self._logs.rest(log, self._warn_once)
        self._existing |= {log.name: log for _, log in listed}
        for log in self._logs.newly_kept(self._warn_once):
            yield from self._logs.rest(log, self._warn_once)

    def _open(self, replica: Replica, log: ReplicaLog) -> None:
        """Read the log of a replica, unless it has exited and its log was read to the end."""
        exited = ""
        if replica.state not in {"running", "paused"}:
            state = self._runtime.inspect(replica.id)
            if state is None or state.since == log.read_until:
                return
            exited = state.since
        self._reading.add(log.name)
        threading.Thread(target=self._read, args=(log, exited), daemon=True).start()

    def _read(self, log: ReplicaLog, exited: str) -> None:
        raised: BaseException | None = None
        try:
            for entry in log.follow():
                self._queue.put(entry)
        except BaseException as error:  # noqa: BLE001 (handled in the caller's thread)
            raised = error
        self._queue.put(_Ended(log, exited, raised))

    def _arrived(self) -> Iterator[Entry]:
        """Wait for lines, for at most the time of a poll, and yield them sorted by time."""
        try:
            received = [self._queue.get(timeout=max(self._poll_seconds, 0.01))]
        except queue.Empty:
            return
        threading.Event().wait(min(GATHER_SECONDS, self._poll_seconds))
        while len(received) < WAITING_LINES:
            try:
                received.append(self._queue.get_nowait())
            except queue.Empty:
                break
        yield from sorted((one for one in received if isinstance(one, Entry)), key=lambda entry: entry.order)
        for one in received:
            if isinstance(one, _Ended):
                self._end(one)

    def _end(self, ended: _Ended) -> None:
        self._reading.discard(ended.log.name)
        match ended.error:
            case None:
                ended.log.read_until = ended.exit
            case LogUnreadable() as error:
                self._unreadable.add(ended.log.name)
                self._warn_once(error.sentence)
            case ConductorError() as error:
                self._warn_once(error.sentence)
            case error:
                raise error

    def _warn_once(self, sentence: str) -> None:
        if sentence not in self._warned:
            self._warned.add(sentence)
            self._warn(sentence)
