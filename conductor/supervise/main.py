"""From the command line to the loop: definitions that may change, signals, systemd, and the threads beside the loop."""

import signal
import threading
from pathlib import Path

from conductor.change.checks import check
from conductor.change.doors import Doors
from conductor.clock import Clock
from conductor.definitions.load import Definitions, load
from conductor.engine.docker import DockerEngine
from conductor.engine.probes import probe
from conductor.errors import ConductorError
from conductor.plan.values import Attempt
from conductor.proxy.reload import ReloadProxy
from conductor.report.printers import Silent
from conductor.state.crontabs import Crontabs
from conductor.state.locks import SUPERVISE, Locks
from conductor.supervise.act import YieldingClock
from conductor.supervise.events import follow
from conductor.supervise.loop import Loop
from conductor.supervise.notify import notify, watchdog_seconds
from conductor.supervise.observe import Observer
from conductor.supervise.told import WARNING, QuietStore, Teller
from conductor.supervise.watcher import Target, Watcher

END_SECONDS = 0.6  # what is under way may come to a step's end; SIGTERM ends us within a second
LOOK_AT_FILES_SECONDS = 1.0


class Current:
    """The last good definitions of a file; a broken one is told once and changes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = self._look()
        self.definitions = load(path)
        self.problem = ""

    def read_again(self, *, asked: bool) -> bool:
        """When asked to, or when it is another file; whether that was so."""
        stamp = self._look()
        if stamp == self._stamp and not asked:
            return False
        self._stamp = stamp
        try:
            self.definitions, self.problem = load(self._path), ""
        except ConductorError as error:
            more = f" ({error.details[0]})" if error.details else ""
            self.problem = f"{error.sentence}{more}; the last good definitions stay in force"
        return True

    def _look(self) -> object:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size


class Hands:
    """Doors for the parts of `supervise`: one set for each action, whose clock gives up when its lock is wanted."""

    def __init__(self, current: Current, clock: Clock, over: threading.Event) -> None:
        self._current = current
        self._clock = clock
        self._over = over

    def open(self, service: str = "") -> Doors:
        """Everything for one service, or for a look at all."""
        host = self._current.definitions.host
        directory = Path(host.runtime_dir) / "locks"
        looking = Locks(directory, SUPERVISE, self._clock)
        clock = YieldingClock(lambda: self._over.is_set() or looking.wanted(service)) if service else self._clock
        locks = Locks(directory, SUPERVISE, clock)
        return Doors(
            host=host,
            engine=DockerEngine(host.docker, host.instance, clock),
            proxy=ReloadProxy(host, locks, clock),
            probe=probe,
            store=QuietStore(Path(host.state_dir)),
            locks=locks,
            crontabs=Crontabs(host.cron.dir),
            report=Silent(),
            clock=clock,
            config=self._current.definitions.path,
            command=SUPERVISE,
        )


def supervise(config: Path, *, once: bool) -> int:
    """Run until SIGTERM or SIGINT; containers stay as they are."""
    current, clock, teller = Current(config), Clock(), Teller()
    over, asked = threading.Event(), threading.Event()
    hands = Hands(current, clock, over)
    looking = hands.open()  # kept: its connection to the daemon is used again and again

    def ask(target: Target) -> Attempt:
        return check(looking, target.container, target.health, str)

    def definitions() -> Definitions:
        return current.definitions

    woken = threading.Event()
    watcher = Watcher(ask, woken.set, clock.monotonic)
    loop = Loop(
        clock=clock, teller=teller, observer=Observer(watcher, lambda: looking, definitions), open_doors=hands.open,
        definitions=definitions, woken=woken, over=over,
    )  # fmt: skip
    if once:
        loop.one_pass()
        return 0
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    signal.signal(signal.SIGHUP, lambda *_: asked.set())
    follow(lambda: hands.open().engine, woken.set, over)
    notify(READY="1", STATUS="looking for the first time")
    teller.say(f"supervising {len(current.definitions.ids)} services of {config}")
    _turn(loop, current, teller, clock, asked)
    notify(STOPPING="1")
    watcher.stop()
    loop.end(END_SECONDS)
    return 0


def _turn(loop: Loop, current: Current, teller: Teller, clock: Clock, asked: threading.Event) -> None:
    """The loop, with the watchdog fed from it, and files looked at once a second."""
    fed = files_seen = float("-inf")
    pause = (watchdog_seconds() or 60.0) / 4
    while not loop.over.is_set():
        now = clock.monotonic()
        if now - fed >= pause:
            fed = now
            notify(WATCHDOG="1")
        if now - files_seen >= LOOK_AT_FILES_SECONDS or asked.is_set():
            files_seen = now
            was = current.problem
            if current.read_again(asked=asked.is_set()):
                if current.problem != was:
                    teller.say(current.problem or "the definitions are good again", WARNING if current.problem else 6)
                loop.problem = current.problem
                loop.wake()
            asked.clear()
            loop.look_at_state()
        loop.tick()
