"""In-memory clock, cancellation, runtime and health checks: complete, without Docker, and without waiting.

`tests/fakes/runtime_contract.py` is the table of behaviours that `FakeRuntime` and the Docker runtime share.
"""

import contextlib
import datetime
import ipaddress
import queue
import threading
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import msgspec

from conductor.clock import Clock
from conductor.definitions.host import Network
from conductor.definitions.model import Health, Mount
from conductor.definitions.scalars import Secret
from conductor.errors import ConductorError, Interrupted
from conductor.plan import labels
from conductor.plan.container_spec import ContainerSpec, required_source
from conductor.plan.garbage import LocalImage
from conductor.plan.listening import Listener
from conductor.plan.log import LogLine, Stream
from conductor.plan.release import Image
from conductor.plan.replica import CheckResult, Containers, ContainerState, ContainerUsage, Replica
from conductor.runtime.docker.responses import container_state, containers
from conductor.runtime.docker.shapes import InspectedContainer, ListedContainer, read
from conductor.runtime.port import Captured, ContainerEvent, Daemon, RuntimeUnavailable

EPOCH = 1_800_000_000.0  # when a FakeClock begins, in seconds since 1970
KILLED, TERMINATED = 137, 143  # exit codes after SIGKILL and SIGTERM
STREAMS: tuple[Stream, Stream] = ("stdout", "stderr")
IMAGE_BYTES = 100 * 2**20  # of each image
MEMORY_BYTES = 50 * 2**20  # of each running container
EPHEMERAL = (32768, 60999)  # ports that the host gives to outgoing connections


class FakeClock(Clock):
    """A clock that stands still until `sleep` advances it. Safe in several threads."""

    def __init__(self, wall: float = EPOCH) -> None:
        self._start = wall
        self._elapsed = 0.0
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def monotonic(self) -> float:
        return self._elapsed

    def wall(self) -> float:
        return self._start + self._elapsed

    def thread_cpu(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self._elapsed += max(0.0, seconds)

    advance = sleep

    def set_forward(self, seconds: float) -> None:
        """Let the wall time jump, as when the host's clock is corrected."""
        self._start += seconds

    def local(self) -> datetime.datetime:
        return datetime.datetime.fromtimestamp(self.wall(), datetime.UTC).replace(tzinfo=None)

    def age(self, stamp: str) -> float:
        return self.wall() - datetime.datetime.fromisoformat(stamp).timestamp()


class FakeCancellation:
    """Implements `Cancellation` without signals; `wait` advances the clock.

    `stop_at` is the number of the check (a `wait` is one) from which `error` is due. As with a signal, it is raised once,
    and not inside a shield or after the commit: there `notices` gets the notice.
    """

    def __init__(
        self, clock: FakeClock | None = None, *, stop_at: int | None = None, error: BaseException | None = None
    ) -> None:
        self.clock = clock or FakeClock()
        self.stop_at = stop_at
        self.checks = 0
        self.notices: list[str] = []
        self.is_committed = False
        self._error = error or Interrupted(2)
        self._shields: list[str] = []

    def check(self) -> None:
        self.checks += 1
        if self.stop_at is None or self.checks < self.stop_at:
            return
        if self.is_committed or self._shields:
            notice = "committed" if self.is_committed else self._shields[0]
            if notice not in self.notices:
                self.notices.append(notice)
            return
        self.stop_at = None
        raise self._error

    def wait(self, seconds: float) -> None:
        self.clock.sleep(seconds)
        self.check()

    @contextlib.contextmanager
    def shielded(self, notice: str, *, yields: bool = False) -> Iterator[None]:
        self._shields.append(notice)
        try:
            yield
        finally:
            self._shields.pop()

    def committed(self) -> None:
        self.is_committed = True


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """How containers of an image behave.

    `exits_after` is in seconds of the clock (0 is at once, None is never). `stdout` and `stderr` are printed at the start.
    `start_error` makes `start` fail with `exit_code`. `healthy` is for `execute` and `FakeHealth`; `answer` is what a check
    then shows. `ignores_sigterm`: `stop` kills it. It exits `stops_after` seconds after `signal`. `address` is the address it gets instead of the requested one.
    """

    exits_after: float | None = None
    exit_code: int = 0
    out_of_memory: bool = False
    stdout: tuple[str, ...] = ()
    stderr: tuple[str, ...] = ()
    start_error: str = ""
    healthy: bool = True
    answer: str = ""
    check_hangs: bool = False
    ignores_sigterm: bool = False
    stops_after: float = 0.0
    address: str = ""
    environment: dict[str, str] = {}  # of the image
    listeners: tuple[Listener, ...] | None = None


SERVES = Behaviour()
ENDS_AT_ONCE = Behaviour(exits_after=0.0)


class Call(NamedTuple):
    """One call of a method of the runtime."""

    method: str
    arguments: tuple[Any, ...]


class _Failure(msgspec.Struct):
    method: str
    left: int  # calls until it is raised
    error: BaseException
    after: bool


class _Container(msgspec.Struct):
    id: str
    spec: ContainerSpec
    behaviour: Behaviour
    created: float
    state: str = "created"
    exit_code: int = 0
    out_of_memory: bool = False
    error: str = ""
    ip: str = ""
    started: float = 0.0
    started_monotonic: float = 0.0
    finished: str = ""
    log: list[LogLine] = msgspec.field(default_factory=list)

    @property
    def running(self) -> bool:
        return self.state in {"running", "paused"}


class FakeRuntime:
    """Implements `Runtime` in memory. `calls` has every call in order; safe in several threads.

    `images` are local, `registry` is what `pull` can fetch. `foreign_addresses` are in use by other containers.
    The host lacks `missing_files`. `used_by_others` are ids of images of containers that are not Conductor's.
    `away` is True while the daemon is not responding, `unknown_usage` while the kernel's tables cannot be read.
    """

    def __init__(self, clock: FakeClock | None = None, *, instance: str = "default") -> None:
        self.clock = clock or FakeClock()
        self.instance = instance
        self.calls: list[Call] = []
        self.failed: list[str] = []  # methods that raised an injected error
        self.images: dict[str, Image] = {}
        self.registry: dict[str, Image] = {}
        self.used_by_others: set[str] = set()
        self.networks: dict[str, tuple[Network, str]] = {}  # and the instance that owns it
        self.other_networks: set[str] = set()  # which containers may join
        self.foreign_addresses: set[str] = set()
        self.missing_files: set[str] = set()
        self.unreadable_credentials: set[str] = set()  # image names
        self.settings: dict[str, Any] = {}  # fields of `Daemon` that differ from a healthy one
        self.unknown_usage = False
        self.late_out_of_memory: set[str] = set()  # ids whose kill by the kernel is known only to those who wait for it
        self._away = False
        self._containers: dict[str, _Container] = {}
        self._behaviours: list[tuple[str, str | None, Behaviour]] = []
        self._failures: list[_Failure] = []
        self._subscribers: list[queue.SimpleQueue[ContainerEvent | BaseException | None]] = []
        self._created = 0
        self._stamps = 0
        self._make_locks()

    def _make_locks(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)  # a log or a state, for those who follow a log

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in {"_lock", "_changed"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_locks()

    # For tests: configuration.

    def add_image(
        self, reference: str, image_id: str = "", digest: str = "", volumes: tuple[str, ...] = (), size: int = 0
    ) -> Image:
        """Add a local image; its id is made from the reference unless given."""
        image = self.images[reference] = Image(image_id or f"sha256:{reference}", digest, volumes, size)
        return image

    def publish_image(self, reference: str, image_id: str = "", digest: str = "") -> Image:
        """Add an image to the registry."""
        image = self.registry[reference] = Image(image_id or f"sha256:{reference}", digest)
        return image

    def behave(self, key: str, behaviour: Behaviour, *, kind: str | None = None) -> None:
        """Set the behaviour of new containers whose image id, revision, service or job is `key`. The last match applies.

        Without a matching one a replica runs until it is stopped, and a task exits at once with code 0.
        """
        self._behaviours.append((key, kind, behaviour))

    def fail(self, method: str, nth: int = 1, error: BaseException | None = None, *, after: bool = False) -> None:
        """Raise `error` in the n-th call of `method` from now on (`*` is any method), once.

        `after`: the call takes effect first, as after a 500 or a lost connection.
        """
        error = error or ConductorError(f"cannot {method}: the test injected this failure")
        self._failures.append(_Failure(method, nth, error, after))

    def no_failures(self) -> None:
        """Forget the failures that have not been raised."""
        self._failures.clear()

    @property
    def away(self) -> bool:
        return self._away

    @away.setter
    def away(self, away: bool) -> None:
        with self._lock:
            self._away = away
            if away:
                self._publish(_unavailable(), last=True)
            self._changed.notify_all()

    # For tests: what happens outside Conductor.

    def change(self, container: str, **fields: Any) -> None:
        """Change how a container behaves from now on."""
        with self._lock:
            found = self._containers[container]
            found.behaviour = msgspec.structs.replace(found.behaviour, **fields)

    def exit(self, container: str, exit_code: int = 1, *, out_of_memory: bool = False) -> None:
        """Let a running container exit by itself."""
        with self._lock:
            self._exit(self._containers[container], exit_code, out_of_memory=out_of_memory)

    def pause(self, container: str) -> None:
        """Pause a running container, as `docker pause` does."""
        with self._lock:
            found = self._containers[container]
            assert found.state == "running"
            found.state = "paused"
            self._emit(found, fewer=True)

    def unpause(self, container: str) -> None:
        """Resume a paused container."""
        with self._lock:
            found = self._containers[container]
            assert found.state == "paused"
            found.state = "running"
            self._emit(found, fewer=False)

    def vanish(self, container: str) -> None:
        """Remove a container, as `docker rm --force` does."""
        with self._lock:
            self._remove(container)

    def restart_host(self) -> None:
        """Exit every running container and end every stream of events, as a restart of the host or of Docker does."""
        with self._lock:
            for found in self._containers.values():
                if found.running:
                    self._exit(found, KILLED)
            self.end_events()

    def print(self, container: str, text: str, *, stream: int = 1) -> None:
        """Add a line to a container's log."""
        with self._lock:
            self._print(self._containers[container], "stdout" if stream == 1 else "stderr", text)

    def end_events(self) -> None:
        """End every stream of events."""
        self._publish(None, last=True)

    # For tests: what is there.

    def called(self, method: str) -> list[tuple[Any, ...]]:
        """Return the arguments of each call of `method`."""
        return [call.arguments for call in self.calls if call.method == method]

    def spec(self, container: str) -> ContainerSpec:
        """Return the specification that a container was created from."""
        return self._containers[container].spec

    def snapshot(self) -> Containers:
        """Return all containers, without a recorded call."""
        with self._lock:
            self._let_time_pass()
            return containers(_row(found) for found in self._containers.values())

    def behaviour(self, container: str) -> Behaviour:
        """Return how a container behaves."""
        return self._containers[container].behaviour

    # The port.

    def daemon(self) -> Daemon:
        with self._call("daemon"):
            healthy = Daemon(
                version="27.0", required="the fake", supported=True, keeps_containers=True, data_dir="/nowhere/docker",
                time=self.clock.now(),
            )  # fmt: skip
            return msgspec.structs.replace(healthy, **self.settings)

    def check_credentials(self, image: str) -> None:
        self.calls.append(Call("check_credentials", (image,)))  # the daemon is not asked
        if image in self.unreadable_credentials:
            raise ConductorError("cannot read /root/.docker/config.json: not valid JSON", "run docker login again")

    def containers(self, service: str | None = None) -> Containers:
        with self._call("containers", service):
            found = [c for c in self._ours() if service is None or c.spec.labels.get(labels.SERVICE) == service]
            return containers(_row(one) for one in found)

    def events(self) -> Iterator[ContainerEvent]:
        with self._call("events"):
            subscriber: queue.SimpleQueue[ContainerEvent | BaseException | None] = queue.SimpleQueue()
            self._subscribers.append(subscriber)
        return _stream(subscriber)

    def image(self, reference: str) -> Image | None:
        with self._call("image", reference):
            by_id = {image.id: image for image in self.images.values()}
            return self.images.get(reference) or by_id.get(reference)

    def pull(self, reference: str, progress: Callable[[str], None]) -> Image:
        with self._call("pull", reference):
            progress("Pulling")
            if reference not in self.registry:
                raise ConductorError(f"cannot pull image {reference}: manifest unknown")
            progress("Pull complete")
            before = self.images.get(reference)
            if before and before.id != self.registry[reference].id and len(self._names()[before.id]) == 1:
                self.images[before.id] = before  # it stays, without a name
            self.images[reference] = self.registry[reference]
            return self.images[reference]

    def local_images(self) -> tuple[LocalImage, ...]:
        with self._call("local_images"):
            used = {found.spec.image_id for found in self._containers.values()} | self.used_by_others
            return tuple(
                LocalImage(id=image, references=tuple(sorted(names - {image})), bytes=IMAGE_BYTES, in_use=image in used)
                for image, names in self._names().items()
            )

    def remove_image(self, reference: str, image_id: str) -> None:
        with self._call("remove_image", reference, image_id):
            found = self.images.get(reference)
            if found is None or found.id != image_id:
                return
            used = {one.spec.image_id for one in self._containers.values()} | self.used_by_others
            if image_id in used and len(self._names()[image_id]) == 1:
                raise ConductorError(f"cannot remove image {reference}: a container uses it")
            del self.images[reference]

    def _names(self) -> dict[str, set[str]]:
        """Return the references of each image; one without any has its id instead."""
        names: dict[str, set[str]] = {}
        for reference, image in self.images.items():
            names.setdefault(image.id, set()).add(reference)
        return names

    def ensure_network(self, network: Network) -> None:
        with self._call("ensure_network", network):
            found, owner = self.networks.setdefault(network.name, (network, self.instance))
            if owner != self.instance:
                raise ConductorError(f"cannot use network {network.name}: it belongs to instance {owner!r}")
            if found != network:
                raise ConductorError(f"cannot use network {network.name}: it has another subnet")

    def check_ports(self, low: int, high: int) -> None:
        self.calls.append(Call("check_ports", (low, high)))  # the kernel answers, so it works while the daemon is away
        if low <= EPHEMERAL[1] and high >= EPHEMERAL[0]:
            raise ConductorError(f"cannot publish ports {low} to {high}: the host gives them to outgoing connections")

    def check_volumes(self, volumes: Collection[str | Mount]) -> None:
        for source in map(required_source, volumes):
            if source in self.missing_files:
                raise ConductorError(f"cannot mount {source}: it does not exist")

    def check_networks(self, names: Collection[str]) -> None:
        if not names:
            return  # the daemon is not asked
        with self._call("check_networks", *names):
            for name in set(names) - self.other_networks:
                raise ConductorError(f"cannot connect containers to network {name}: it does not exist")

    def used_addresses(self, network: Network) -> frozenset[str]:
        with self._call("used_addresses", network):
            if network.name not in self.networks:
                raise ConductorError(f"cannot inspect network {network.name}: no such network")
            labelled = {found.spec.labels.get(labels.ADDRESS, "") for found in self._ours()}
            connected = {c.ip for c in self._containers.values() if c.running and c.spec.network == network.name}
            return frozenset((labelled | connected | self.foreign_addresses) - {""})

    def create(self, spec: ContainerSpec) -> str:
        with self._call("create", spec):
            for found in self._containers.values():
                if found.spec.name == spec.name:
                    if found.spec.labels.get(labels.CHANGE) == spec.labels.get(labels.CHANGE):
                        return found.id
                    raise ConductorError(f"cannot create container {spec.name}: the name is in use")
            if spec.image_id not in {image.id for image in self.images.values()}:
                raise ConductorError(f"cannot create container {spec.name}: no such image: {spec.image_id}")
            self._created += 1
            made = _Container(f"c{self._created}", spec, self._behaviour(spec), self.clock.wall())
            self._containers[made.id] = made
            return made.id

    def start(self, container: str) -> None:
        with self._call("start", container):
            self._start(container)

    def inspect(self, container: str) -> ContainerState | None:
        with self._call("inspect", container):
            found = self._containers.get(container)
            return None if found is None else container_state(_detail(found))

    def inspect_exit(self, container: str, *, wait: bool) -> ContainerState | None:
        state = self.inspect(container)
        if state is not None and wait and container in self.late_out_of_memory:
            return msgspec.structs.replace(state, out_of_memory=True)
        return state

    def listeners(self, container: str) -> tuple[Listener, ...] | None:
        with self._call("listeners", container):
            found = self._containers.get(container)
            return None if found is None else found.behaviour.listeners

    def usage(self, container: str) -> ContainerUsage | None:
        with self._lock:  # the daemon is not asked
            found = self._containers.get(container)
            if found is None or not found.running or self.unknown_usage:
                return None
            limit = None if found.spec.memory is None else int(found.spec.memory)
            started = self.clock.wall() - (self.clock.monotonic() - found.started_monotonic)  # as the kernel knows it
            return ContainerUsage(memory=MEMORY_BYTES, memory_limit=limit, started=started)

    def environment(self, container: str) -> dict[str, str]:
        with self._call("environment", container):
            found = self._containers.get(container)
            if found is None:
                return {}
            given = found.spec.environment.items()
            values = {name: value.reveal() if isinstance(value, Secret) else value for name, value in given}
            return {**found.behaviour.environment, **values}

    def execute(self, container: str, command: tuple[str, ...], timeout_seconds: float) -> CheckResult:
        try:
            with self._call("execute", container, command, timeout_seconds):
                found = self._containers.get(container)
                if found is None or found.state != "running":
                    raise ConductorError(f"cannot run {command[0]}: container {container} is not running")
                behaviour = found.behaviour
        except ConductorError as error:
            return CheckResult(ok=False, seconds=0.0, error=error.sentence, unknown=True)
        if behaviour.check_hangs:
            self.clock.sleep(timeout_seconds)
            hung = f"{command[0]} did not finish within {timeout_seconds:g}s"
            return CheckResult(ok=False, seconds=timeout_seconds, error=hung)
        if behaviour.healthy:
            return CheckResult(ok=True, seconds=0.0)
        return CheckResult(ok=False, seconds=0.0, error=f"{command[0]} exited with code 1", output=behaviour.answer)

    def capture(self, container: str, timeout_seconds: float, max_bytes: int) -> Captured:
        with self._call("capture", container, timeout_seconds, max_bytes):
            try:
                self._start(container)
            except ConductorError as error:
                return Captured(stdout=b"", stderr=b"", failure=f"did not start: {error.sentence}")
            found = self._containers[container]
            streams = [[f"{one.text}\n".encode() for one in found.log if one.stream == name] for name in STREAMS]
            stdout, stderr = (b"".join(lines) for lines in streams)
            if len(stdout) + len(stderr) > max_bytes:
                return Captured(stdout=stdout, stderr=stderr, failure=f"printed more than {max_bytes >> 10} KiB")
            lasts = found.behaviour.exits_after
            if found.running and (lasts is None or lasts > timeout_seconds):
                self.clock.sleep(timeout_seconds)
                return Captured(stdout=stdout, stderr=stderr, failure=f"did not finish within {timeout_seconds:g}s")
            if found.running:
                self.clock.sleep(lasts or 0.0)
                self._let_time_pass()
            failure = f"exited with code {found.exit_code}" if found.exit_code else ""
            return Captured(stdout=stdout, stderr=stderr, failure=failure)

    def logs(self, container: str, tail: int) -> tuple[str, ...]:
        with self._call("logs", container, tail):
            found = self._containers.get(container)
            return tuple(one.text for one in found.log[-tail:]) if found else ()

    def logs_since(self, container: str, after: str) -> tuple[tuple[str, str], ...]:
        with self._call("logs_since", container, after):
            found = self._containers.get(container)
            return tuple((one.time, one.text) for one in found.log if one.time > after) if found else ()

    def read_log(
        self, container: str, *, since: str = "", tail: int | None = None, follow: bool = False
    ) -> Iterator[LogLine]:
        with self._call("read_log", container, since, tail, follow):
            found = self._containers.get(container)
            lines = list(found.log) if found else []
        yield from (one for one in (lines if tail is None else lines[-tail:]) if one.time >= since)
        read = len(lines)
        while found is not None and follow:
            with self._lock:
                while not self._away and len(found.log) == read and found.running:
                    self._changed.wait()
                if self._away:
                    raise _unavailable()
                lines = found.log[read:]
            if not lines:
                return
            read += len(lines)
            yield from (one for one in lines if one.time >= since)

    def signal(self, container: str, name: str) -> None:
        with self._call("signal", container, name):
            found = self._containers.get(container)
            if found is None or found.state != "running" or found.behaviour.ignores_sigterm:
                return  # a paused container gets the signal once it continues
            if found.behaviour.stops_after:
                until = self.clock.wall() + found.behaviour.stops_after
                found.behaviour = msgspec.structs.replace(
                    found.behaviour, exits_after=until - found.started, exit_code=TERMINATED
                )
            else:
                self._exit(found, TERMINATED)

    def stop(self, container: str, grace_seconds: float) -> bool:
        with self._call("stop", container, grace_seconds):
            found = self._containers.get(container)
            if found is None:
                return False
            if found.running:
                ignores = found.behaviour.ignores_sigterm or found.state == "paused"
                if ignores:
                    self.clock.sleep(grace_seconds)
                self._exit(found, KILLED if ignores else TERMINATED)
            return found.exit_code == KILLED and not found.out_of_memory

    def remove(self, container: str) -> None:
        with self._call("remove", container):
            self._remove(container)

    def remove_volumes(self, service: str, keep: Collection[str]) -> None:
        with self._call("remove_volumes", service, set(keep)):
            pass  # it keeps no data

    # Inside.

    @contextlib.contextmanager
    def _call(self, method: str, *arguments: Any) -> Iterator[None]:
        with self._lock:
            self.calls.append(Call(method, arguments))
            due = self._due(method)
            if self._away:
                raise _unavailable()
            self.failed += [method for _ in due]
            for failure in due:
                if not failure.after:
                    raise failure.error
            self._let_time_pass()
            yield
            for failure in due:
                raise failure.error

    def _due(self, method: str) -> list[_Failure]:
        """Count this call, and return the failures that it gets."""
        counted = [failure for failure in self._failures if failure.method in {method, "*"}]
        for failure in counted:
            failure.left -= 1
        due = [failure for failure in counted if failure.left == 0]
        self._failures = [failure for failure in self._failures if failure.left > 0]
        return due

    def _ours(self) -> list[_Container]:
        every = self._containers.values()
        return [found for found in every if found.spec.labels.get(labels.INSTANCE) == self.instance]

    def _behaviour(self, spec: ContainerSpec) -> Behaviour:
        label = spec.labels
        keys = {spec.image_id, label.get(labels.REVISION), label.get(labels.SERVICE), label.get(labels.JOB)}
        for key, kind, behaviour in reversed(self._behaviours):
            if key in keys and kind in {None, label.get(labels.KIND)}:
                return behaviour
        return SERVES if label.get(labels.KIND) == "service" else ENDS_AT_ONCE

    def _start(self, container: str) -> None:
        found = self._containers.get(container)
        if found is None:
            raise ConductorError(f"cannot start container {container}: no such container")
        if found.running:
            return
        cannot, behaviour = f"cannot start container {found.spec.name}", found.behaviour
        if behaviour.start_error:
            found.exit_code, found.error = behaviour.exit_code or 127, behaviour.start_error
            raise ConductorError(f"{cannot}: {behaviour.start_error}")
        if found.spec.network not in self.networks:
            raise ConductorError(f"{cannot}: network {found.spec.network} not found")
        for one in found.spec.joined:
            if one.name not in self.other_networks:
                raise ConductorError(f"{cannot}: network {one.name} not found")
        found.ip = self._free_ip(found, cannot)
        found.state, found.exit_code, found.error, found.finished = "running", 0, "", ""
        found.started, found.started_monotonic = self.clock.wall(), self.clock.monotonic()
        for line in behaviour.stdout:
            self._print(found, "stdout", line)
        for line in behaviour.stderr:
            self._print(found, "stderr", line)
        self._emit(found, fewer=False)
        self._let_time_pass()

    def _free_ip(self, container: _Container, cannot: str) -> str:
        running = [c for c in self._containers.values() if c.running and c.id != container.id]
        spec, ports = container.spec, {c.spec.publish[1] for c in running if c.spec.publish}
        if spec.publish and spec.publish[1] in ports:
            raise ConductorError(f"{cannot}: port {spec.publish[1]} is already allocated")
        used = {c.ip for c in running if c.spec.network == spec.network} | self.foreign_addresses
        if spec.ip in used:
            raise ConductorError(f"{cannot}: Address already in use")
        pool = (str(ip) for ip in ipaddress.IPv4Network(self.networks[spec.network][0].tasks).hosts())
        ip = container.behaviour.address.partition(":")[0] or spec.ip or next((ip for ip in pool if ip not in used), "")
        if not ip:
            raise ConductorError(f"{cannot}: no available IPv4 addresses on this network's address pools")
        return ip

    def _let_time_pass(self) -> None:
        for found in self._containers.values():
            lasts = found.behaviour.exits_after
            if found.state == "running" and lasts is not None and self.clock.wall() >= found.started + lasts:
                self._exit(found, found.behaviour.exit_code, out_of_memory=found.behaviour.out_of_memory)

    def _exit(self, container: _Container, exit_code: int, *, out_of_memory: bool = False) -> None:
        container.state, container.exit_code, container.out_of_memory = "exited", exit_code, out_of_memory
        container.ip, container.finished = "", self._stamp()
        self._changed.notify_all()
        self._emit(container, fewer=True, exit_code=exit_code)

    def _remove(self, container: str) -> None:
        found = self._containers.get(container)
        if found is None:
            return
        if found.running:
            self._exit(found, KILLED)
        del self._containers[container]
        self._emit(found, fewer=True)

    def _emit(self, container: _Container, *, fewer: bool, exit_code: int | None = None) -> None:
        label = container.spec.labels
        if label.get(labels.KIND) == "service" and label.get(labels.INSTANCE) == self.instance:
            service = label.get(labels.SERVICE, "")
            event = ContainerEvent(
                service, container.id, fewer=fewer, exited=exit_code is not None, exit_code=exit_code
            )
            self._publish(event)

    def _publish(self, event: ContainerEvent | BaseException | None, *, last: bool = False) -> None:
        with self._lock:
            for subscriber in self._subscribers:
                subscriber.put(event)
            if last:
                self._subscribers = []

    def _print(self, container: _Container, stream: Stream, text: str) -> None:
        container.log.append(LogLine(self._stamp(), stream, text))
        self._changed.notify_all()

    def _stamp(self) -> str:
        """Return a time stamp as Docker's, later than all before."""
        self._stamps += 1
        return f"{self.clock.now()[:-1]}{self._stamps % 1_000_000:06d}Z"


def _unavailable() -> RuntimeUnavailable:
    return RuntimeUnavailable("cannot reach Docker at memory://: it is not running", "systemctl start docker")


def _stream(subscriber: "queue.SimpleQueue[ContainerEvent | BaseException | None]") -> Iterator[ContainerEvent]:
    while (event := subscriber.get()) is not None:
        if isinstance(event, BaseException):
            raise event
        yield event


def _row(container: _Container) -> ListedContainer:
    """Return a container as a row of the daemon's list."""
    row = {
        "Id": container.id,
        "Names": [f"/{container.spec.name}"],
        "Labels": container.spec.labels,
        "State": container.state,
        "Created": int(container.created),
        "ImageID": container.spec.image_id,
    }
    return read(row, ListedContainer)


def _detail(container: _Container) -> InspectedContainer:
    """Return a container as the daemon's answer to an inspection."""
    created, started = (
        datetime.datetime.fromtimestamp(wall, datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        for wall in (container.created, container.started)  # one that has not started did so in 1970
    )
    publish, override = container.spec.publish, container.behaviour.address
    host, _, port = (override or f"127.0.0.1:{publish[1]}").partition(":") if publish else ("", "", "")
    ports = {f"{publish[0]}/tcp": [{"HostIp": host, "HostPort": port}]} if publish and container.running else {}
    found = {
        "Created": created,
        "State": {
            "Status": container.state,
            "Running": container.running,
            "ExitCode": container.exit_code,
            "OOMKilled": container.out_of_memory,
            "Error": container.error,
            "StartedAt": started,
            "FinishedAt": container.finished or "0001-01-01T00:00:00Z",
        },
        "Config": {"Labels": container.spec.labels},
        "NetworkSettings": {"Networks": {container.spec.network: {"IPAddress": container.ip}}, "Ports": ports},
    }
    return read(found, InspectedContainer)


class FakeHealth:
    """Implements `HealthChecker` without a network and without waiting. `checks` has the id of each checked replica.

    A replica is healthy when it runs in `runtime` (if given), its behaviour is healthy, and neither its id nor its revision
    is in `unhealthy`. Checks advance the clock: a failed one by `failure_seconds`, so that a gate ends after a few; a
    successful one of `health: none` by `stable_for`.
    """

    def __init__(self, clock: FakeClock, runtime: FakeRuntime | None = None, *, failure_seconds: float = 30.0) -> None:
        self.clock = clock
        self.runtime = runtime
        self.failure_seconds = failure_seconds
        self.unhealthy: set[str] = set()
        self.answers: dict[str, CheckResult] = {}  # by replica id or revision; replaces the result
        self.checks: list[str] = []

    def check(self, replica: Replica, health: Health, redact: Callable[[str], str]) -> CheckResult:
        self.checks.append(replica.id)
        result = self._result(replica)
        if not result.ok:
            self.clock.sleep(self.failure_seconds)
        elif health.none:
            self.clock.sleep(health.stable_for)
        return msgspec.structs.replace(result, output=redact(result.output), error=redact(result.error))

    def _result(self, replica: Replica) -> CheckResult:
        for key in (replica.id, replica.revision):
            if key in self.answers:
                return self.answers[key]
        running = behaves = True
        if self.runtime is not None:
            with contextlib.suppress(KeyError):
                behaves = self.runtime.behaviour(replica.id).healthy
            running = any(one.id == replica.id and one.running for one in self.runtime.snapshot().replicas)
        if not running:
            return CheckResult(ok=False, seconds=0.0, error="connection refused")
        if not behaves or self.unhealthy & {replica.id, replica.revision}:
            return CheckResult(ok=False, seconds=0.0, status=503, output="not ready")
        return CheckResult(ok=True, seconds=0.0, status=200)
