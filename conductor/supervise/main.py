"""Connects the parts of `supervise` and runs its loop: signals, systemd, and changed files."""

import contextlib
import ctypes
import os
import queue
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec

from conductor.change.context import Context
from conductor.clock import Clock
from conductor.collector import collect_often
from conductor.definitions.host import Host
from conductor.errors import BusyError, ConductorError
from conductor.health.monitor import HealthMonitor, Target
from conductor.notify.notifier import Notifier
from conductor.plan.replica import CheckResult
from conductor.state.history import HistoryWriter
from conductor.state.notifications import NotificationRecords
from conductor.state.store import Store
from conductor.state.supervisor_status import SUPERVISE_LOCK, previous_services
from conductor.supervise.actions import Actions, InProgress
from conductor.supervise.contexts import Contexts, MakeContext
from conductor.supervise.crontabs import CrontabFollower
from conductor.supervise.definitions_file import DefinitionsFile
from conductor.supervise.edge_loop import EdgeLoop, EdgeParts
from conductor.supervise.garbage import DailyCollection
from conductor.supervise.health_notifications import HealthNotifications
from conductor.supervise.log import SupervisorLog
from conductor.supervise.loop import Loop
from conductor.supervise.notifications import Notifications
from conductor.supervise.observe import Observer
from conductor.supervise.pass_results import PassResults
from conductor.supervise.publisher import Publisher
from conductor.supervise.reconciler import Reconciler
from conductor.supervise.retries import Retries
from conductor.supervise.route_loader import RouteLoader
from conductor.supervise.runtime_events import EventHandler, follow
from conductor.supervise.runtime_state import RuntimeState
from conductor.supervise.status_file import StatusFile
from conductor.supervise.systemd import notify, watchdog_seconds
from conductor.supervise.task_cleanup import TaskCleanup
from conductor.traffic.processes import boot_id

END_SECONDS = 0.5  # actions may reach the end of a step; SIGTERM ends `supervise` within a second
NOTIFY_END_SECONDS = 0.2  # after that
CHECK_FILES_SECONDS = 1.0
DEFINITIONS = "definitions file"  # in the log; no service id contains a space
M_ARENA_MAX = -8  # malloc.h


def supervise(
    config: Path,
    state_dir: Path,
    make_context: MakeContext,
    make_history: Callable[[Host], HistoryWriter],
    make_edge: Callable[[Context], EdgeParts],
    *,
    once: bool,
) -> int:
    """Run until SIGTERM or SIGINT, or for one pass. Containers keep running.

    `state_dir` has the last valid host section, for a start with a broken definitions file. `make_edge` is for a fleet.
    """
    _limit_heaps()
    log, clock, ended = SupervisorLog(), Clock(), threading.Event()
    file = usable_definitions(config, state_dir, log, clock)
    store = Store(Path(file.definitions.host.state_dir))
    notifications = Notifications(Notifier(lambda: file.definitions, store, clock), log)
    contexts = Contexts(
        make_context, file.definitions, clock, log, ended, notify=notifications.put,
        history=make_history(file.definitions.host),
    )  # fmt: skip
    lock = contextlib.ExitStack()  # held until the process ends
    try:
        lock.enter_context(contexts.passes.locks.hold(SUPERVISE_LOCK, END_SECONDS))
    except BusyError as busy:
        hint = "systemctl stop conductor-supervise"
        if busy.holder is not None:
            hint += f"   (or kill {busy.holder.pid}, if systemd did not start it)"
        raise BusyError("supervise", busy.holder, hint) from busy
    file.keep()
    edge = None
    if contexts.passes.host.fleet is not None:
        if once:
            raise ConductorError(
                "cannot use --once in a fleet: deploys need supervise to keep running on every edge",
                "systemctl start conductor-supervise",
            )
        edge = EdgeLoop(make_edge(contexts.passes), contexts.passes, log, ended, lambda: file.definitions)
    supervisor = Supervisor(file, contexts, log, ended, notifications, edge=edge)
    if once:
        _exit(0 if supervisor.one_pass() else 1)
    supervisor.run()
    _exit(0)


def usable_definitions(config: Path, state_dir: Path, log: SupervisorLog, clock: Clock) -> DefinitionsFile:
    """Return the definitions. Under systemd wait for usable ones, because each exit would only lead to the next start."""
    while True:
        try:
            return DefinitionsFile(config, state_dir)
        except ConductorError as error:
            if not notify(READY="1", WATCHDOG="1", STATUS=f"waiting for a usable definitions file: {error.sentence}"):
                raise
            log.failed(DEFINITIONS, error)
        clock.sleep(CHECK_FILES_SECONDS)


class Supervisor:
    """The parts of `supervise`, and how they are connected. `edge` is this manager's part of a fleet."""

    def __init__(
        self,
        file: DefinitionsFile,
        contexts: Contexts,
        log: SupervisorLog,
        ended: threading.Event,
        notifications: Notifications,
        *,
        edge: EdgeLoop | None = None,
    ) -> None:
        self._file = file
        self._contexts = contexts
        self._log = log
        self._notifications = notifications
        host, clock = contexts.passes.host, contexts.passes.clock
        self._in_progress = InProgress(self._wake)
        self._edge = edge
        self._monitor = edge.monitor if edge else HealthMonitor(self._check, self._wake_now, clock.monotonic)
        observer = edge.observer if edge else Observer(self._monitor, contexts.passes, lambda: file.definitions)
        definitions = edge.definitions if edge else lambda: file.definitions
        passes = msgspec.structs.replace(contexts.passes, store=edge.store) if edge else contexts.passes

        def are_configured(service: str) -> bool:
            return (edge is None or edge.notifies) and notifications.are_configured(service)

        retries = Retries(clock, previous_services(host.runtime_dir))
        reconciler = Reconciler(
            monotonic=clock.monotonic, log=log, retries=retries, forget_failures=contexts.history.forget,
            in_progress=self._in_progress,
            actions=Actions(contexts, log, host.supervise.starts_at_once, ended, self._monitor.results,
                            may_act=edge.lease.take if edge else lambda: True),
            at_rest=edge.at_rest if edge else lambda: None,
            route_loader=RouteLoader(contexts, self._in_progress, log),
            task_cleanup=TaskCleanup(contexts, self._in_progress),
            crontabs=CrontabFollower(contexts, self._in_progress, log, definitions),
            definitions=definitions,
            garbage=DailyCollection(contexts, self._in_progress, log),
            health_notifications=HealthNotifications(
                records=NotificationRecords(contexts.passes.store.directory), clock=clock, log=log, put=notifications.put,
                answers=self._monitor.results, boot=boot_id(), configured=are_configured,
            ),
        )  # fmt: skip
        runtime = RuntimeState(log)
        status = StatusFile(host.runtime_dir, clock, log, lambda: file.problem, self._monitor.results)
        self._publisher = Publisher(passes, log, self._monitor.recent, self._monitor.totals)
        self._results = PassResults(runtime, reconciler, retries, status, self._publisher)
        self._loop = Loop(clock, observer, self._results, runtime, ended)
        self._events = EventHandler(observer.exited, self._in_progress, self._loop.wake, self._loop.wake_now)

    def _wake(self) -> None:  # the loop is made after the parts that wake it
        self._loop.wake()

    def _wake_now(self) -> None:
        self._loop.wake_now()

    def _check(self, target: Target) -> CheckResult:
        try:
            return self._contexts.passes.health.check(target.replica, target.health, target.redact)
        except Exception as error:  # noqa: BLE001 (a bug in a check shows nothing about the replica)
            self._log.failed(f"health of {target.replica.service}", error)
            return CheckResult(ok=False, seconds=0.0, unknown=True)

    def one_pass(self) -> bool:
        """Run one pass and the actions that follow; return True when all of it succeeded."""
        self._loop.one_pass(self._monitor)
        self._in_progress.finish()
        self._notifications.wait()
        return self._results.succeeded and not self._log.has_failures

    def run(self) -> None:
        """Run until a signal ends the loop. Actions in progress may reach the end of a step."""
        signals = _signals()
        passes = self._contexts.passes
        if self._edge is None:
            follow(
                passes.runtime.events, self._events.handle, self._loop.events_lost, self._loop.ended,
                passes.clock.monotonic,
            )  # fmt: skip
        else:
            self._edge.begin()
        collect_often()
        notify(READY="1", STATUS="running the first pass")
        count = len(self._file.definitions.ids)
        self._log.info(f"supervising {count} service{'s' * (count != 1)} defined in {self._file.definitions.path}")
        if self._file.problem:
            self._log.warn(self._file.problem)
        run_loop(self._loop, self._file, self._log, passes.clock, signals)
        notify(STOPPING="1")
        self._publisher.end()
        self._monitor.stop()
        self._in_progress.wait(END_SECONDS)
        self._notifications.wait(NOTIFY_END_SECONDS)


def _signals() -> "queue.SimpleQueue[int]":
    """Return where signals arrive. A queue and no event: a signal may interrupt the thread that holds the lock of an event."""
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: signals.put(number))
    return signals


def run_loop(
    loop: Loop, file: DefinitionsFile, log: SupervisorLog, clock: Clock, signals: "queue.SimpleQueue[int]"
) -> None:
    """Run the loop until SIGTERM or SIGINT. Files are checked once a second.

    Ticks feed systemd's watchdog while passes complete, so that systemd replaces a process whose pass is stuck.
    """
    fed = checked = float("-inf")
    feed_seconds = (watchdog_seconds() or 60.0) / 4
    while not loop.ended.is_set():
        received = {signals.get() for _ in range(signals.qsize())}
        if ends := received - {signal.SIGHUP}:
            log.info(f"received {signal.Signals(min(ends)).name}, exiting; the containers keep running")
            loop.ended.set()
            return
        now = clock.monotonic()
        if now - fed >= feed_seconds and not loop.is_stuck:
            fed = now
            notify(WATCHDOG="1")
        if now - checked >= CHECK_FILES_SECONDS or received:
            checked = now
            _reload(loop, file, log, force=bool(received))
            loop.check_state_files()
        loop.tick()


def _reload(loop: Loop, file: DefinitionsFile, log: SupervisorLog, *, force: bool) -> None:
    """Read the definitions file again, if it changed or SIGHUP arrived."""
    was_valid = not file.problem
    if file.reload(force=force):
        if file.problem:
            log.warn(file.problem)
        elif not was_valid:
            log.info("the definitions file is valid again")
        loop.wake()


def _limit_heaps() -> None:
    """Let all threads share two heaps of glibc, because memory of a thread's own heap is rarely returned.

    Measured: with 27 threads and failing services, a process of 40 MiB grew by half in twenty minutes.
    """
    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


def _exit(code: int) -> NoReturn:
    """End at once. Actions in progress are in their journals, and Python would wait for every thread."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)
