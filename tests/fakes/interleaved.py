"""Commands and `supervise` as processes on a host in memory: a seed decides who has the next turn, and who is killed where.

Every call of the runtime, the traffic layer, the health checks, the state files, the crontabs and the history is a turn.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import msgspec

from conductor.change.context import Context
from conductor.definitions.host import Host
from conductor.errors import ConductorError
from conductor.plan import labels
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.history import HistoryEntry
from conductor.plan.journal import Journal
from conductor.plan.release import Wanted
from conductor.plan.tasks import Task
from conductor.runtime.docker.attach import MissingImageError
from conductor.state.history import History
from conductor.state.locks import NGINX_SECONDS, Locks
from conductor.state.store import Store
from conductor.tasks.context import TaskContext
from conductor.tasks.task import run
from tests.fakes.runtime import FakeCancellation, FakeClock, FakeHealth
from tests.fakes.traffic import FakeTraffic
from tests.fakes.turns import Turns
from tests.fakes.world import WatchedRuntime, WorldStore
from tests.unit.supervise.conftest import SupervisedHost

PASS_SECONDS = 0.3  # between two passes of `supervise`; events wake the real one as often
RESTART_SECONDS = 0.5  # after `supervise` was killed
PAUSE_SECONDS = (0.1, 3.0)  # an upgrade fits in


class TurnsClock(FakeClock):
    """The clock of all processes. The sleep of a thread that has turns is a turn; any other one lets the time jump."""

    def __init__(self, turns: Turns, *, jumps: bool = False) -> None:
        super().__init__()
        self._turns = turns
        self._jumps = jumps

    def monotonic(self) -> float:
        return self._turns.now

    def wall(self) -> float:
        return self._start + self._turns.now

    def sleep(self, seconds: float) -> None:
        if not self._jumps and self._turns.has(threading.current_thread()):
            self._turns.turn(seconds)
        else:
            self._turns.now += max(0.0, seconds)

    advance = sleep


class Actor:
    """A thread of a process. Threads that it starts, and waits for, take its turns, one after the other."""

    def __init__(self, host: "InterleavedHost") -> None:
        self._host = host
        self._thread = threading.current_thread()
        self._process = host.turns.process() if host.turns.has(self._thread) else ""
        self._one = threading.Lock()

    def step(self, seconds: float | None = None, *, call: str = "") -> None:
        """Give others a turn before a call of this name, or end here if the process is killed."""
        if self._process:
            with self._one:
                self._host.count_step(self._process)
                self._host.turns.turn(
                    self._host.pause(self._process, call) if seconds is None else seconds, self._thread
                )


class Stepped:
    """Anything whose calls are turns of an actor. `around` returns what a call of this name runs in."""

    def __init__(
        self,
        target: Any,
        actor: Actor,
        around: Callable[[str], contextlib.AbstractContextManager[None]] = lambda _name: contextlib.nullcontext(),
    ) -> None:
        self._target, self._actor, self._around = target, actor, around

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return found

        def call(*arguments: Any, **named: Any) -> Any:
            self._actor.step(call=name)
            with self._around(name):
                return found(*arguments, **named)

        return call


class SteppedCancellation(FakeCancellation):
    """No signal arrives, and a wait is a turn."""

    def __init__(self, clock: FakeClock, actor: Actor) -> None:
        super().__init__(clock)
        self._actor = actor

    def listen(self) -> None:
        pass

    def check(self) -> None:
        pass

    def wait(self, seconds: float) -> None:
        self._actor.step(seconds)
        if not self._actor._process:
            self.clock.sleep(seconds)


class JudgingRuntime(WatchedRuntime):
    """Records in `bad` what must never happen: a replica of a `single` beside one of another release, requests of a service that
    go to another one, an address that is given out twice, a task that is removed before it has ended, an image that was removed
    while it was needed, a repair that replaces a running replica of the live release."""

    def __init__(self, clock: FakeClock, traffic: FakeTraffic, single: frozenset[str], store: Store) -> None:
        super().__init__(clock, traffic)
        self.bad: list[str] = []
        self._single = single
        self._store = store

    def create(self, spec: ContainerSpec) -> str:
        if spec.image_id not in {image.id for image in self.images.values()}:
            self.bad.append(f"the image of {spec.name} was removed")
        used = {one.address: one.name for one in self.snapshot().replicas if one.address}
        if spec.labels[labels.ADDRESS] in used:
            self.bad.append(f"{spec.name} has the address of {used[spec.labels[labels.ADDRESS]]}")
        return super().create(spec)

    def start(self, container: str) -> None:
        if container not in self._containers:
            self.bad.append(f"{container} was removed before it was started")
        super().start(container)
        running = [one for one in self.snapshot().replicas if one.running]
        this = next((one for one in running if one.id == container), None)
        if this is not None and this.service in self._single:
            same = (one for one in running if one.service == this.service)
            self.bad += [f"{this.name} beside {one.name}" for one in same if one.release != this.release]
        self.check_routes()

    def check_routes(self) -> None:
        """Record each endpoint of a service that belongs to another one."""
        owners = {one.endpoint: one.service for one in self.snapshot().replicas if one.running and one.endpoint}
        for service, endpoints in self.traffic.routes.items():
            foreign = [one for one in endpoints if owners.get(one, service) != service]
            self.bad += [f"requests of {service} go to {owners[one]}" for one in foreign]

    def stop(self, container: str, grace_seconds: float) -> bool:
        self._check_task(container)
        self._check_repair(container)
        return super().stop(container, grace_seconds)

    def remove(self, container: str) -> None:
        self._check_task(container)
        self._check_repair(container)
        super().remove(container)

    def _check_task(self, container: str) -> None:
        running = (one for one in self.snapshot().tasks if one.id == container and one.state == "running")
        self.bad += [f"task {one.name} was ended" for one in running]

    def _check_repair(self, container: str) -> None:
        """Record a running replica of the live release that a repair removes although it also starts replicas."""
        replicas = self.snapshot().replicas
        for one in replicas:
            journal = self._store.journal(one.service) if one.id == container and one.running else None
            if journal and journal.action == "repair" and one.release == journal.old.live.id:
                started = [other for other in replicas if other.change == journal.change]
                self.bad += [f"{one.name} was replaced by a repair"] * bool(started and one not in started)


class RecordingStore(WorldStore):
    """A store that records in `begun` the service and the change of each journal that was written, and in `bad` each wanted state
    that replaces the crontab of the same release by an older one."""

    def __init__(self, directory: Path, clock: FakeClock) -> None:
        super().__init__(directory, clock)
        self.begun: set[tuple[str, str]] = set()
        self.bad: list[str] = []

    def write_journal(self, journal: Journal) -> None:
        super().write_journal(journal)
        self.begun.add((journal.service, journal.change))

    def write_wanted(self, wanted: Wanted) -> None:
        old, new = self.wanted(wanted.service).release, wanted.release
        if old and new and old.id == new.id and new.crontab < old.crontab:  # the texts have numbers
            self.bad.append(f"{new.crontab} replaces {old.crontab}")
        super().write_wanted(wanted)


class Daemon:
    """What `conductor run` needs of the runtime."""

    def __init__(self, host: "InterleavedHost", actor: Actor) -> None:
        self._runtime: Any = Stepped(host.runtime, actor)
        self._host, self._actor = host, actor

    def has_network(self, name: str) -> bool:
        return name in self._host.runtime.networks

    @contextlib.contextmanager
    def starting(self, spec: ContainerSpec) -> Iterator[str]:
        if self._runtime.image(spec.image_id) is None:
            raise MissingImageError(f"cannot create container {spec.name}: no such image")
        container = self._runtime.create(spec)
        try:
            yield container
        except ConductorError:
            self._runtime.remove(container)
            raise

    def start(self, container: str, _command: str) -> None:
        self._actor.step(self._host.task_start_seconds)
        self._runtime.start(container)


class InterleavedHost(SupervisedHost):
    """`begin` adds processes, `run` interleaves them. `killed` are the processes that were killed.

    `pauses` is how often a process, by the first word of its name, pauses for long before a call, as on a busy host.
    `task_start_seconds` is how long the start of a task takes.
    """

    def __init__(self, directory: Path, services: dict[str, dict[str, Any]], seed: int) -> None:
        self.turns = Turns(seed)
        self.killed: set[str] = set()
        self.pauses: dict[tuple[str, str], float] = {}
        self.task_start_seconds = 0.0
        self._steps_left: dict[str, int] = {}
        self._supervisors = 0
        super().__init__(directory, services)
        self.clock = TurnsClock(self.turns)
        self.store: RecordingStore = RecordingStore(directory / "state", self.clock)
        jumping = TurnsClock(self.turns, jumps=True)  # the runtime sleeps under its lock
        single = frozenset(name for name, one in services.items() if one.get("order") == "stop-first")
        self.runtime: JudgingRuntime = JudgingRuntime(jumping, self.traffic, single, self.store)
        self.health = FakeHealth(jumping, self.runtime)

    def define(self, services: dict[str, dict[str, Any]], **more: Any) -> None:
        """Give out few addresses, so that each is soon used again, and keep one release."""
        small = {"subnet": "10.213.0.0/28", "tasks": "10.213.0.8/29"}
        super().define(services, **{"network": small, "keep": 1, **more})

    def context(self, host: Host | None = None) -> Context:
        made, actor = super().context(host), Actor(self)
        cancellation = SteppedCancellation(self.clock, actor)
        locks = Locks(self.directory / "run" / "locks", "traffic", self.clock, cancellation)

        @contextlib.contextmanager
        def nginx_lock(name: str) -> Iterator[None]:
            with (
                locks.hold("nginx", NGINX_SECONDS)
                if name in {"switch", "undo", "install"}
                else contextlib.nullcontext()
            ):
                yield
            self.runtime.check_routes()

        stepped: dict[str, Any] = {
            "runtime": Stepped(self.runtime, actor),
            "traffic": Stepped(self.traffic, actor, nginx_lock),
            "health": Stepped(self.health, actor),
            "store": Stepped(self.store, actor),
            "crontabs": Stepped(made.crontabs, actor),
            "history": Stepped(History(self.store.directory), actor),
        }
        process = self.turns.process() if self.turns.has(threading.current_thread()) else "test"
        return msgspec.structs.replace(
            made,
            locks=Locks(self.directory / "run" / "locks", process, self.clock, cancellation),
            cancellation=cancellation,
            command=process,
            **stepped,
        )

    def pause(self, process: str, call: str) -> float | None:
        """Return how long a process pauses before a call; None: as long as before most calls."""
        random, often = self.turns.random, self.pauses.get((process.partition(" ")[0], call), 0.0)
        return random.uniform(*PAUSE_SECONDS) if random.random() < often else None

    def run_task(self, service: str, timeout: float) -> int:
        """`conductor run --detach`, with the deadline of a run that is not detached and was killed."""
        actor = Actor(self)
        context = TaskContext(
            definitions=self.definitions,
            runtime=Daemon(self, actor),  # type: ignore[arg-type]
            store=Stepped(self.store, actor),  # type: ignore[arg-type]
            history=Stepped(History(self.store.directory), actor),  # type: ignore[arg-type]
            locks=Locks(self.directory / "run" / "locks", "run", self.clock, FakeCancellation(self.clock)),
            clock=self.clock,
            cancellation=SteppedCancellation(self.clock, actor),  # type: ignore[arg-type]
            command=self.turns.process(),
        )
        return run(context, Task(service=service, kind="task", command=("true",), timeout=timeout, detach=True))

    def begin(self, process: str, work: Callable[[], None], *, after: float, steps: int | None = None) -> None:
        """Add a process that begins after some seconds, and is killed at its step number `steps`."""
        if steps is not None:
            self._steps_left[process] = steps
        self.turns.add(process, work, after=after)

    def begin_supervise(self, deaths: list[int], *, after: float = 0.0) -> None:
        """Add a `supervise`, which is killed after so many steps, and then the next one."""
        self._supervisors += 1
        process = f"supervise {self._supervisors}"
        if deaths:
            self._steps_left[process] = deaths[0]

        def work() -> None:
            self.supervise()
            self.in_progress._pool = TurnsPool(self, process)  # type: ignore[assignment]
            while True:
                self.begin_pass(reload=False)
                self.turns.turn(PASS_SECONDS)

        self._deaths = deaths[1:]
        self.turns.add(process, work, background=True, after=after)

    def count_step(self, process: str) -> None:
        """Kill a process whose steps are over."""
        left = self._steps_left.get(process)
        if left is None:
            return
        self._steps_left[process] = left - 1
        if left <= 0 and process not in self.killed:
            self.killed.add(process)
            self.turns.killed.add(process)
            if process.startswith("supervise"):
                self.begin_supervise(self._deaths, after=RESTART_SECONDS)

    def exit_one(self) -> None:
        """Let one running replica exit."""
        running = [one.id for one in self.runtime.snapshot().replicas if one.running]
        if running:
            self.runtime.exit(self.turns.random.choice(running))

    def recover_all(self) -> None:
        """Let the next command on each service recover what was interrupted."""
        self.recover(self.definitions.ids)

    def settle(self) -> None:
        """Let a `supervise` that is not killed finish everything, until no task is to be kept any more."""
        self.supervise()
        for seconds in (1.0, 10.0, 30.0, 70.0, 700.0, 70.0, 1.0):
            self.run_pass(reload=False)
            self.clock.advance(seconds)
        self.run_pass(reload=False)

    def entries(self) -> list[HistoryEntry]:
        """Return the whole history."""
        return list(History(self.store.directory).entries())


class TurnsPool:
    """Runs the actions of `supervise` in threads that have turns. A pause before `submit` delays the thread, as the start limit does."""

    def __init__(self, host: InterleavedHost, process: str) -> None:
        self._host, self._process = host, process

    def submit(self, work: Callable[[], None]) -> Future[None]:
        future: Future[None] = Future()

        def call() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)
                raise

        delay = self._host.pause(self._process, "submit")
        self._host.turns.add(self._process, call, background=True, after=delay or 0.0)
        return future
