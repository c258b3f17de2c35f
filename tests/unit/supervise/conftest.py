"""A host in memory under `supervise`: everything is real but the runtime, traffic, the clock and the health monitor."""

import threading
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec
import pytest

from conductor.cancellation import Cancellation
from conductor.change.context import Context
from conductor.definitions.host import Host
from conductor.health.monitor import CheckTotals, Target
from conductor.output.printers import Output
from conductor.plan.history import HistoryEntry
from conductor.plan.notification import Notification
from conductor.plan.reconcile import Condition
from conductor.state.locks import Locks
from conductor.state.notifications import NotificationRecords
from conductor.state.supervisor_status import SupervisorStatus, status_path
from conductor.supervise.actions import Actions, InProgress
from conductor.supervise.contexts import Contexts
from conductor.supervise.crontabs import CrontabFollower
from conductor.supervise.definitions_file import DefinitionsFile
from conductor.supervise.garbage import DailyCollection
from conductor.supervise.health_notifications import HealthNotifications
from conductor.supervise.log import SupervisorLog
from conductor.supervise.observe import HostObservation, Observer
from conductor.supervise.pass_results import PassResults
from conductor.supervise.publisher import Publisher
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
        self.answers: dict[str, str] = {}
        self.targets: list[Target] = []
        self.recent: dict[str, str] = {}
        self.totals: dict[str, CheckTotals] = {}

    def watch(self, targets: Iterable[Target]) -> None:
        self.targets = list(targets)

    def condition(self, replica: str) -> Condition:
        return self.conditions.get(replica, Condition.HEALTHY)

    def results(self) -> dict[str, tuple[Condition, str]]:
        return {
            one.replica.id: (self.condition(one.replica.id), self.answers.get(one.replica.id, ""))
            for one in self.targets
        }


class SupervisedHost(World):
    """Runs passes of one `supervise`, each followed by the end of the actions that it began."""

    def __init__(self, directory: Path, services: dict[str, dict[str, Any]]) -> None:
        super().__init__(directory, services)
        self.ended = threading.Event()
        self.lines: list[str] = []
        self.monitor = FakeMonitor()
        self.records = NotificationRecords(self.store.directory)
        self.notifications: list[Notification] = []
        self.boot = "first boot"
        self.notify_configured = True
        self.supervise()

    def supervise(self) -> None:
        """Start a `supervise`, which continues what the one before published."""
        file = self.file = DefinitionsFile(self.directory / "services.yml", self.directory / "state")
        file.keep()
        host = file.definitions.host
        log = SupervisorLog(self.lines.append)
        contexts = Contexts(
            self._make_context, file.definitions, self.clock, log, self.ended, notify=self.notifications.append
        )
        monitor: Any = self.monitor
        self.observer = Observer(monitor, contexts.passes, lambda: file.definitions)
        self.in_progress = InProgress(lambda: None)
        self.retries = Retries(self.clock, self.status().services if status_path(host.runtime_dir).exists() else {})
        self.reconciler = Reconciler(
            monotonic=self.clock.monotonic,
            log=log,
            retries=self.retries,
            forget_failures=contexts.history.forget,
            actions=Actions(contexts, log, host.supervise.starts_at_once, self.ended, self.monitor.results),
            in_progress=self.in_progress,
            route_loader=RouteLoader(contexts, self.in_progress, log),
            task_cleanup=TaskCleanup(contexts, self.in_progress),
            crontabs=CrontabFollower(contexts, self.in_progress, log, lambda: file.definitions),
            definitions=lambda: file.definitions,
            garbage=DailyCollection(contexts, self.in_progress, log),
            health_notifications=HealthNotifications(
                records=self.records,
                clock=self.clock,
                log=log,
                put=self.notifications.append,
                answers=self.monitor.results,
                boot=self.boot,
                configured=lambda _service: self.notify_configured,
            ),
        )
        self.runtime_state = RuntimeState(log)
        status = StatusFile(host.runtime_dir, self.clock, log, lambda: file.problem, self.monitor.results)
        self.publisher = Publisher(contexts.passes, log, lambda: self.monitor.recent, lambda: self.monitor.totals)
        self.results = PassResults(self.runtime_state, self.reconciler, self.retries, status, self.publisher)

    def _make_context(
        self, host: Host, config: Path, command: str, output: Output, cancellation: Cancellation, **options: Any
    ) -> Context:
        locks = Locks(Path(host.runtime_dir) / "locks", command, self.clock, cancellation, yields=options["yields"])
        return msgspec.structs.replace(
            self.context(host),
            locks=locks,
            output=output,
            cancellation=cancellation,
            history=options["history"],
            command=command,
        )

    def run_pass(self, *, publish: bool = False, reload: bool = True) -> None:
        """Run a pass, and wait for the actions that it begins. `publish`: for `conductor web`. `reload` reads the definitions file."""
        self.begin_pass(publish=publish, reload=reload)
        self.in_progress.finish()
        if publish:
            self.publisher.wait()

    def begin_pass(self, *, publish: bool = False, reload: bool = True) -> None:
        """Run a pass, whose actions run in threads."""
        if reload:
            self.file.reload(force=True)
        result: Future[HostObservation] = Future()
        try:
            result.set_result(self.observer.observe(runtime_restarted=self.runtime_state.begin_pass()))
        except Exception as error:  # noqa: BLE001 (as an executor does)
            result.set_exception(error)
        self.results.take(result, 0.01 if publish else None)

    def run_passes(self, seconds: float) -> None:
        """Run as many passes, a second apart. Actions take time of the clock too."""
        for number in range(round(seconds)):
            self.run_pass(reload=not number)
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


@pytest.fixture
def host_type() -> type[SupervisedHost]:
    """The host without services, for modules that deploy their own."""
    return SupervisedHost
