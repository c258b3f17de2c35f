"""Publishes the host for `conductor web` in a thread of its own, so that no pass waits for it."""

import json
import os
import threading
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from conductor.change.context import Context
from conductor.health.monitor import CheckTotals
from conductor.snapshot.published import ChecksTotal, Published, published_path, without_credentials
from conductor.state.supervisor_status import SupervisorStatus
from conductor.supervise import public_files
from conductor.supervise.log import SupervisorLog
from conductor.supervise.log_publisher import LogPublisher
from conductor.supervise.observe import HostObservation
from conductor.supervise.public_snapshot import PublicSnapshots
from conductor.supervise.thread_name import name_thread
from conductor.supervise.totals import PassTotals
from conductor.version import version

SUBJECT = "status page"  # in the log; no service id contains a space
END_SECONDS = 0.2
THREAD = "publisher"


class _Pass(NamedTuple):
    observed: HostObservation
    status: SupervisorStatus
    waiting_for: str


class Publisher:
    """Writes the document after each pass. `recent` and `totals` return the health checks of replicas and of services."""

    def __init__(
        self,
        passes: Context,
        log: SupervisorLog,
        recent: Callable[[], dict[str, str]],
        totals: Callable[[], dict[str, CheckTotals]],
    ) -> None:
        self._log = log
        self._clock = passes.clock
        self._recent = recent
        self._checks = totals
        self._path = published_path(passes.host.runtime_dir)
        self._snapshots = PublicSnapshots(passes, os.uname().nodename)
        self._version = version()
        self.logs = LogPublisher(passes, log)
        self._passes = PassTotals()
        self._valid_at = ""
        self._latest: _Pass | None = None
        self._written: Published | None = None
        self._wake = threading.Condition()
        self._ended = self._busy = False
        self._thread: threading.Thread | None = None

    def put(self, observed: HostObservation | None, status: SupervisorStatus, waiting_for: str, seconds: float) -> None:
        """Publish what the latest successful pass saw. The first pass that succeeded starts the thread.

        `seconds` is how long the latest pass took, and `waiting_for` why it failed, if it did.
        """
        self._passes.add(seconds, "" if waiting_for else self._clock.now())
        if observed is None:
            return
        with self._wake:
            self._latest = _Pass(observed, status, waiting_for)
            self._wake.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=THREAD, daemon=True)
            self._thread.start()
        self.logs.put(observed)

    def wait(self) -> None:
        """Wait until everything that was put has been published."""
        with self._wake:
            self._wake.wait_for(lambda: self._latest is None and not self._busy)

    def end(self) -> None:
        """Publish that `supervise` has ended."""
        self.logs.end()
        with self._wake:
            self._ended = True
            self._wake.notify_all()
        if self._thread is not None:
            self._thread.join(END_SECONDS)

    def _work(self) -> None:
        name_thread(THREAD)
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._latest is not None or self._ended)
                latest, self._latest = self._latest, None
                ended, self._busy = self._ended, True
            try:
                if latest is not None and not ended:
                    self._written = self._document(latest)
                if self._written is not None:
                    self._write(self._written, ended=ended)
                self._log.recovered(SUBJECT)
            except Exception as error:  # noqa: BLE001 (a page that cannot be made must not end the supervision)
                self._log.failed(SUBJECT, error)
            with self._wake:
                self._busy = False
                self._wake.notify_all()
            if ended:
                return

    def _document(self, latest: _Pass) -> Published:
        status = latest.status
        if not status.problem:
            self._valid_at = self._clock.now()
        totals = self._snapshots.history.totals
        self._passes.write_to(totals)
        totals.checks = tuple(
            ChecksTotal(service=service, passed=one.passed, failed=one.failed, seconds=one.seconds)
            for service, one in sorted(self._checks().items())
        )
        return self._snapshots.document(
            latest.observed, status, conductor=self._version, pid=status.pid, since=status.since,
            waiting_for=latest.waiting_for, problem=status.problem, definitions_valid=self._valid_at,
            checks=self._recent(), totals=totals,
        )  # fmt: skip

    def _write(self, document: Published, *, ended: bool) -> None:
        if ended:
            document = msgspec.structs.replace(document, ended=self._clock.now())
        public_files.write(self._path, self._path, encoded(document))


def encoded(document: Published) -> bytes:
    """Return the document as JSON. Bytes that are no UTF-8, for example in a crontab, become question marks."""
    try:
        data = msgspec.json.encode(document)
    except UnicodeEncodeError:
        data = json.dumps(msgspec.to_builtins(document), ensure_ascii=False).encode(errors="replace")
    return without_credentials(data)
