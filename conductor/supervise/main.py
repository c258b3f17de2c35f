"""From the command line to the loop: definitions that may change, signals, systemd, and the threads beside the loop."""

import contextlib
import ctypes
import gc
import os
import queue
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

import msgspec

from conductor.change.context import Context
from conductor.clock import Clock
from conductor.definitions.load import Definitions, load
from conductor.errors import ConductorError
from conductor.health.check import HealthChecks
from conductor.health.monitor import HealthMonitor, Target
from conductor.plan.values import Attempt
from conductor.runtime.docker.client import DockerRuntime
from conductor.state.crontabs import Crontabs
from conductor.state.locks import SUPERVISE, Locks
from conductor.supervise.act import YieldingClock
from conductor.supervise.log import WARNING, QuietStore, SupervisorLog, Warnings
from conductor.supervise.loop import Loop, said
from conductor.supervise.observe import Observer
from conductor.supervise.runtime_events import follow
from conductor.supervise.systemd import notify, watchdog_seconds
from conductor.traffic.reload.reload import ReloadTraffic

END_SECONDS = 0.5  # what is under way may come to a step's end; SIGTERM ends us within a second
LOOK_AT_FILES_SECONDS = 1.0
M_ARENA_MAX = -8  # malloc.h
ALONE = "supervise.loop"  # no service's id has a dot
LAST_GOOD = "the last good definitions stay in force"


class Current:
    """The last good definitions of a file, of each service for itself; what is broken is told once and changes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self.definitions = load(path)
        self.problem = _broken(self.definitions)

    def read_again(self, *, asked: bool) -> bool:
        """When asked to, or when it is another file; whether that was so."""
        stamp = self._look()
        if stamp == self._stamp and not asked:
            return False
        self._stamp = stamp
        before = self.definitions
        try:
            found = load(self._path)
        except ConductorError as error:
            more = f" ({error.details[0]})" if error.details else ""
            self.problem = f"{error.sentence}{more}; {LAST_GOOD}"
            return True
        kept = {service: before.services[service] for service in found.broken if service in before.services}
        self.problem = _broken(found)
        if found.host != before.host:
            self.problem = self.problem or "host: has changed; systemctl restart conductor-supervise to apply it"
        self.definitions = msgspec.structs.replace(found, host=before.host, services={**kept, **found.services})
        return True

    def _look(self) -> object:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size


def _broken(definitions: Definitions) -> str:
    first = next((str(found[0]) for found in definitions.broken.values()), "")
    return f"{first}; {LAST_GOOD}" if first else ""


class Hands:
    """Context for the parts of `supervise`: one set for each action, whose clock gives up when its lock is wanted."""

    def __init__(self, current: Current, clock: Clock, teller: SupervisorLog, over: threading.Event) -> None:
        self._current = current
        self._clock = clock
        self._teller = teller
        self._over = over
        host = current.definitions.host
        self._runtime = DockerRuntime(host.docker, host.instance, clock)  # its connections are used again and again

    def open(self, service: str = "") -> Context:
        """Everything for one service, or for a look at all."""
        host = self._current.definitions.host
        directory = Path(host.runtime_dir) / "locks"
        looking = Locks(directory, SUPERVISE, self._clock)
        clock = YieldingClock(lambda: self._over.is_set() or looking.wanted(service)) if service else self._clock
        locks = Locks(directory, SUPERVISE, clock)
        return Context(
            host=host,
            runtime=self._runtime,
            traffic=ReloadTraffic(host, locks, clock),
            health=HealthChecks(self._runtime),
            store=QuietStore(Path(host.state_dir)),
            locks=locks,
            crontabs=Crontabs(host.cron.dir),
            report=Warnings(self._teller, service),
            clock=clock,
            config=self._current.definitions.path,
            command=SUPERVISE,
        )


def supervise(config: Path, *, once: bool) -> int:
    """Run until SIGTERM or SIGINT; containers stay as they are."""
    _share_heaps()
    current, clock, teller = Current(config), Clock(), SupervisorLog()
    over, signals = threading.Event(), queue.SimpleQueue[int]()
    hands = Hands(current, clock, teller, over)
    looking = hands.open()
    alone = contextlib.ExitStack()  # until this process ends
    alone.enter_context(looking.locks.hold(ALONE, END_SECONDS))

    def ask(target: Target) -> Attempt:
        try:
            return looking.health.check(target.container, target.health, str)
        except Exception as error:  # noqa: BLE001 (a bug in a check is nobody's ill health, and must not end the asking)
            teller.failed(f"health of {target.container.service}", said(error))
            return Attempt(ok=False, seconds=0.0, unknown=True)

    def definitions() -> Definitions:
        return current.definitions

    watcher = HealthMonitor(ask, lambda: loop.urge(), clock.monotonic)  # noqa: PLW0108 (it is made below)
    loop = Loop(
        clock=clock, teller=teller, observer=Observer(watcher, lambda: looking, definitions), open_context=hands.open,
        definitions=definitions, over=over,
    )  # fmt: skip
    if once:
        return _end(0 if loop.one_pass(watcher) else 1)
    # Not an event: whom a signal interrupts may hold its lock.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _: signals.put(number))
    follow(looking.runtime, loop.heard, loop.lost, over, clock.monotonic)
    gc.collect()
    gc.freeze()  # what is loaded by now stays: looking through it again and again costs CPU
    notify(READY="1", STATUS="looking for the first time")
    teller.say(f"supervising {len(current.definitions.ids)} services of {config}")
    if current.problem:
        teller.say(current.problem, WARNING)
        loop.problem = current.problem
    _turn(loop, current, teller, clock, signals)
    notify(STOPPING="1")
    watcher.stop()
    loop.end(END_SECONDS)
    return _end(0)


def _share_heaps() -> None:
    """glibc gives each thread a heap of its own, of which little is ever given back: with 27 threads a process of 40 MiB
    grew by half in twenty minutes of trouble (measured)."""
    with contextlib.suppress(AttributeError, OSError):  # another C library has no such thing
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)


def _end(code: int) -> NoReturn:
    """At once: what is under way is in its journal, and Python would wait for every thread that waits for something."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code)


def _turn(loop: Loop, current: Current, teller: SupervisorLog, clock: Clock, signals: "queue.SimpleQueue[int]") -> None:
    """The loop, with the watchdog fed from it, and files looked at once a second."""
    fed = files_seen = float("-inf")
    pause = (watchdog_seconds() or 60.0) / 4
    while not loop.over.is_set():
        came = {signals.get() for _ in range(signals.qsize())}
        asked = signal.SIGHUP in came
        if came - {signal.SIGHUP}:
            loop.over.set()
            return
        now = clock.monotonic()
        if now - fed >= pause:
            fed = now
            notify(WATCHDOG="1")
        if now - files_seen >= LOOK_AT_FILES_SECONDS or asked:
            files_seen = now
            was = current.problem
            if current.read_again(asked=asked):
                if current.problem != was:
                    teller.say(current.problem or "the definitions are good again", WARNING if current.problem else 6)
                loop.problem = current.problem
                loop.wake()
            loop.look_at_state()
        loop.tick()
