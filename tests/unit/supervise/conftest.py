"""A host in memory under `supervise`: everything is real but the runtime, traffic, the clock and the health monitor."""

import dataclasses
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conductor.cancellation import Cancellation
from conductor.change.context import Context
from conductor.definitions.model import Host
from conductor.health.monitor import Target
from conductor.output.printers import Output
from conductor.plan.history import HistoryEntry
from conductor.plan.reconcile import Condition
from conductor.state.locks import Locks
from conductor.state.supervisor_status import SupervisorStatus, status_path
from conductor.supervise.actions import Actions, InProgress
from conductor.supervise.contexts import Contexts
from conductor.supervise.crontabs import CrontabFollower
from conductor.supervise.definitions_file import DefinitionsFile
from conductor.supervise.log import SupervisorLog
from conductor.supervise.observe import HostObservation, Observer
from conductor.supervise.pass_results import PassResults
from conductor.supervise.reconciler import Reconciler
from conductor.supervise.retries import Retries
from conductor.supervise.route_loader import RouteLoader
from conductor.supervise.runtime_state import RuntimeState
from conductor.supervise.status_file import StatusFile
from conductor.supervise.task_cleanup import TaskCleanup
from tests.fakes.world import World


class FakeMonitor:
    """Has the conditions that a test sets; all other replicas are healthy."""

    def __init__(self) -> None:
        self.conditions: dict[str, Condition] = {}
        self.targets: list[Target] = []

    def watch(self, targets: Iterable[Target]) -> None:
        self.targets = list(targets)

    def condition(self, replica: str) -> Condition:
        return self.conditions.get(replica, Condition.HEALTHY)


class SupervisedHost(World):
    """Runs passes of one `supervise`, each followed by the end of the actions that it began."""

    def __init__(self, directory: Path, services: dict[str, dict[str, Any]]) -> None:
        super().__init__(directory, services)
        self.ended = threading.Event()
        self.lines: list[str] = []
        self.monitor = FakeMonitor()
        self.supervise()

    def supervise(self) -> None:
        """Start a `supervise`, which continues what the one before published."""
        file = self.file = DefinitionsFile(self.directory / "services.yml", self.directory / "state")
        host = file.definitions.host
        log = SupervisorLog(self.lines.append)
        contexts = Contexts(self._make_context, file.definitions, self.clock, log, self.ended)
        monitor: Any = self.monitor
        self.observer = Observer(monitor, contexts.passes, lambda: file.definitions)
        self.in_progress = InProgress(lambda: None)
        self.retries = Retries(self.clock, self.status().services if status_path(host.runtime_dir).exists() else {})
        self.reconciler = Reconciler(
            monotonic=self.clock.monotonic,
            log=log,
            retries=self.retries,
            actions=Actions(contexts, log, host.supervise.starts_at_once, self.ended),
            in_progress=self.in_progress,
            route_loader=RouteLoader(contexts, self.in_progress, log),
            task_cleanup=TaskCleanup(contexts, self.in_progress),
            crontabs=CrontabFollower(contexts, self.in_progress, log, lambda: file.definitions),
        )
        self.runtime_state = RuntimeState(log)
        status = StatusFile(host.runtime_dir, self.clock, log, lambda: file.problem)
        self.results = PassResults(self.runtime_state, self.reconciler, self.retries, status)

    def _make_context(
        self, host: Host, config: Path, command: str, output: Output, cancellation: Cancellation, **options: Any
    ) -> Context:
        locks = Locks(Path(host.runtime_dir) / "locks", command, self.clock, cancellation, yields=options["yields"])
        return dataclasses.replace(
            self.context(host),
            locks=locks,
            output=output,
            cancellation=cancellation,
            history=options["history"],
            command=command,
        )

    def run_pass(self) -> None:
        """Read the definitions file, run a pass, and wait for the actions that it begins."""
        self.file.reload(force=True)
        result: Future[HostObservation] = Future()
        try:
            result.set_result(self.observer.observe(runtime_restarted=self.runtime_state.may_have_restarted))
        except Exception as error:  # noqa: BLE001 (as an executor does)
            result.set_exception(error)
        self.results.take(result)
        self.in_progress.finish()

    def run_passes(self, seconds: float) -> None:
        """Run a pass every second of the clock."""
        until = self.clock.monotonic() + seconds
        while self.clock.monotonic() < until:
            self.run_pass()
            self.clock.advance(1.0)

    def status(self) -> SupervisorStatus:
        """Return the published status."""
        path = status_path(str(self.directory / "run"))
        return msgspec.json.decode(path.read_bytes(), type=SupervisorStatus)

    def history(self) -> list[HistoryEntry]:
        """Return what `supervise` wrote into the history."""
        path = self.directory / "state" / "history.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [msgspec.json.decode(line, type=HistoryEntry) for line in lines]


@pytest.fixture
def host(tmp_path: Path) -> SupervisedHost:
    """Two replicas of `web` run revision r1; the first pass is over, and the clock is past all spacings."""
    from tests.fakes.world import WEB

    made = SupervisedHost(tmp_path, {"web": WEB})
    made.upgrade("r1")
    made.run_pass()
    made.clock.advance(60.0)
    return made
