"""The Docker runtime over the SDK: long, because it has every method of the port.

Every call has a deadline, and after an unclear response to a creation the container is looked up by its labels before the
creation is repeated.
"""

import contextlib
import math
from collections.abc import Callable, Collection, Iterator

import msgspec

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.definitions.host import Network
from conductor.definitions.model import Mount
from conductor.errors import ConductorError
from conductor.plan import labels
from conductor.plan.container_spec import ContainerSpec, unmounted
from conductor.plan.garbage import LocalImage
from conductor.plan.listening import Listener
from conductor.plan.log import LogLine
from conductor.plan.release import Image
from conductor.plan.replica import CheckResult, Containers, ContainerState, ContainerUsage, Replica, TaskContainer
from conductor.runtime.docker import kernel, out_of_memory, responses
from conductor.runtime.docker.capture import capture
from conductor.runtime.docker.container_log import read_log
from conductor.runtime.docker.create_request import create_request, volume_labels
from conductor.runtime.docker.health_commands import HealthCommands
from conductor.runtime.docker.images import Images
from conductor.runtime.docker.preflight import (
    refuse_ephemeral,
    refuse_foreign,
    refuse_missing,
    refuse_missing_networks,
    refuse_route,
)
from conductor.runtime.docker.sdk import (
    DEADLINE_SECONDS,
    REQUEST_ERRORS,
    APIError,
    NotFound,
    Sdk,
    address_pool,
    messages,
)
from conductor.runtime.docker.shapes import (
    Event,
    Info,
    InspectedContainer,
    InspectedNetwork,
    ListedContainer,
    ListedNetwork,
    ListedVolumes,
    Version,
    WithId,
    read,
)
from conductor.runtime.port import Captured, ContainerEvent, Daemon

REMOVAL_POLL_SECONDS = 0.1
KEPT_VOLUMES = 20  # of removed replicas of one service, so that a crash loop does not fill the disk
OUTPUT_LINES = 2000  # read each time; of a hook that prints more in between, the first lines are lost
CONFLICT = 409


class DockerRuntime:
    """Implements `Runtime` with the SDK's low-level client: the high-level one inspects each listed container
    (200 containers: 205 ms against 25 ms, measured)."""

    def __init__(self, base_url: str, instance: str, clock: Clock, cancellation: Cancellation) -> None:
        self._clock = clock
        self._cancellation = cancellation
        self._instance = instance
        self._sdk = Sdk(base_url, instance)
        self._images = Images(self._sdk, clock)
        self._health_commands = HealthCommands(self._sdk, clock)

    def daemon(self) -> Daemon:
        """Two calls: the settings and the versions."""
        with self._sdk.errors("cannot read Docker's settings"):
            info = read(self._sdk.api.info(), Info)
            version = read(self._sdk.api.version(api_version=False), Version)
        return responses.daemon(info, version, local=self._sdk.is_local, dialect=self._sdk.dialect)

    def containers(self, service: str | None = None) -> Containers:
        """One list call, filtered by exact labels."""
        exact = [f"{labels.INSTANCE}={self._instance}", *([f"{labels.SERVICE}={service}"] if service else [])]
        with self._sdk.errors("cannot list containers"):
            listed = read(self._sdk.api.containers(all=True, filters={"label": exact}), list[ListedContainer])
            return responses.containers(map(self._sdk.dialect.row, listed))

    def events(self) -> Iterator[ContainerEvent]:
        """The only call without a deadline: a stream may be silent for as long as the daemon runs."""
        ours = {labels.INSTANCE: self._instance, labels.KIND: "service"}
        with self._sdk.errors("cannot follow Docker's events"):
            api = self._sdk.api
            names = self._sdk.dialect.events
            exact = [f"{name}={value}" for name, value in ours.items()]
            filters = {"type": "container", "label": exact, "event": list(names)}
            for event in messages(api.events(decode=True, filters=filters), Event):
                attributes = event.actor.attributes
                if any(attributes.get(name, value) != value for name, value in ours.items()):
                    continue  # Podman sends what has one of the labels
                service = attributes.get(labels.SERVICE, "")
                action = names.get(event.action, event.action)
                yield ContainerEvent(
                    service,
                    event.actor.id,
                    fewer=action in {"die", "destroy", "pause"},
                    exited=action == "die",
                    exit_code=responses.event_exit_code(attributes),
                )
            self._sdk.renegotiate()  # the daemon has stopped

    def image(self, reference: str) -> Image | None:
        """Only local images are searched."""
        return self._images.find(reference)

    def pull(self, reference: str, progress: Callable[[str], None]) -> Image:
        """Report the progress of the stream."""
        return self._images.pull(reference, progress)

    def check_credentials(self, image: str) -> None:
        """Read the caller's Docker configuration as a pull does."""
        self._images.check_credentials(image)

    def local_images(self) -> tuple[LocalImage, ...]:
        """Intermediate images are included."""
        return self._images.local()

    def remove_image(self, reference: str, image_id: str) -> None:
        """Not forced."""
        self._images.remove(reference, image_id)

    def ensure_network(self, network: Network) -> None:
        """Create the network unless it exists; refuse another owner, another subnet, or a subnet that covers a host route."""
        with self._sdk.errors(f"cannot inspect network {network.name}"):
            listed = read(self._sdk.api.networks(names=[network.name]), list[ListedNetwork])
            found = [one for one in listed if one.name == network.name]
        if found:
            refuse_foreign(network, self._sdk.dialect.network(found[0], self._sdk.tasks.podman_network), self._instance)
            return
        refuse_route(network)
        with self._sdk.errors(f"cannot create network {network.name} ({network.subnet})"):
            self._sdk.api.create_network(
                network.name,
                driver="bridge",
                check_duplicate=True,
                ipam=address_pool(network),
                labels={labels.INSTANCE: self._instance},
            )

    def check_ports(self, low: int, high: int) -> None:
        """Compare with the kernel's range."""
        refuse_ephemeral(low, high)

    def check_networks(self, names: Collection[str]) -> None:
        """Only the exact name counts: the daemon's filter finds parts of names."""
        if not names:
            return
        with self._sdk.errors(f"cannot inspect network {', '.join(names)}"):
            found = {one.name for one in read(self._sdk.api.networks(names=list(names)), list[ListedNetwork])}
        refuse_missing_networks(set(names) - found)

    def check_volumes(self, volumes: Collection[str | Mount]) -> None:
        """A daemon on another host has other files."""
        if self._sdk.is_local:
            refuse_missing(volumes)

    def used_addresses(self, network: Network) -> frozenset[str]:
        """The labels of this instance's replicas, also stopped ones, and all endpoints of the network."""
        with self._sdk.errors(f"cannot inspect network {network.name}"):
            endpoints = read(self._sdk.api.inspect_network(network.name), InspectedNetwork).containers.values()
        ours = {replica.address for replica in self.containers().replicas if replica.address}
        return frozenset(ours | {one.ipv4_address.partition("/")[0] for one in endpoints})

    def create(self, spec: ContainerSpec) -> str:
        """After a timeout or a status 500 the container may exist: look for it by its labels, then repeat the request once."""
        try:
            container = self._create(spec)
        except REQUEST_ERRORS as error:
            unclear = not isinstance(error, APIError) or error.is_server_error()
            found = self._find(spec)
            with self._sdk.errors(f"cannot create container {spec.name}"):
                if not found and not unclear:
                    raise
                container = found or self._create(spec)
        self._join(spec, container)
        return container

    def _join(self, spec: ContainerSpec, container: str) -> None:
        """Connect a container to its additional networks. One that an earlier request connected is no error."""
        for one in spec.joined:
            with self._sdk.errors(f"cannot connect {spec.name} to network {one.name}"):
                try:
                    self._sdk.api.connect_container_to_network(container, one.name, aliases=list(one.aliases) or None)
                except REQUEST_ERRORS:
                    found = self._inspect(container)
                    if found is None or one.name not in found.network_settings.networks:
                        raise

    def _find(self, spec: ContainerSpec) -> str | None:
        change, listed = spec.labels[labels.CHANGE], self.containers()
        every: tuple[Replica | TaskContainer, ...] = (*listed.replicas, *listed.tasks)
        return next((one.id for one in every if one.name == spec.name and one.change == change), None)

    def _create(self, spec: ContainerSpec) -> str:
        volumes: tuple[str, ...] = ()
        if spec.labels.get(labels.KIND) == "service" and (image := self.image(spec.image_id)):
            volumes = unmounted(image.volumes, spec.volumes, spec.tmpfs)
        request = create_request(spec, volumes)
        if self._sdk.dialect.ignores_volume_labels:
            for name, kept in volume_labels(request).items():
                self._sdk.api.create_volume(name, labels=kept)
        return read(self._sdk.api.create_container_from_config(request, spec.name), WithId).id

    def start(self, container: str) -> None:
        """If the request fails but the container runs, the start succeeded."""
        try:
            with self._sdk.errors(lambda: f"cannot start container {self._name(container)}"):
                self._sdk.api.start(container)
        except ConductorError:
            if not self._runs(container):
                raise

    def _runs(self, container: str) -> bool | None:
        """Return None when it is unknown."""
        try:
            state = self.inspect(container)
        except ConductorError:
            return None
        return state is not None and state.running

    def _name(self, container: str) -> str:
        with contextlib.suppress(*REQUEST_ERRORS):
            return read(self._sdk.api.inspect_container(container), InspectedContainer).name.lstrip("/")
        return container[:12]

    def inspect(self, container: str) -> ContainerState | None:
        """The address is the one that the daemon reports, not the requested one."""
        found = self._inspect(container)
        return responses.container_state(found) if found else None

    def inspect_exit(self, container: str, *, wait: bool) -> ContainerState | None:
        """The event of the kill is read if the daemon did not record it in the container's state."""
        state = self.inspect(container)
        if state is not None and self._sdk.dialect.has_oom_events and out_of_memory.is_possible(state):
            with contextlib.suppress(ConductorError), self._sdk.errors("cannot read Docker's events"):
                found = out_of_memory.was_reported(self._sdk.api.events, container, state, self._clock, wait=wait)
                state = msgspec.structs.replace(state, out_of_memory=found)
        return state

    def listeners(self, container: str) -> tuple[Listener, ...] | None:
        """The kernel's tables of the container's network namespace are read through its first process."""
        found = self._inspect(container)
        return kernel.listeners(found.state.pid, responses.ips(found)) if found else None

    def usage(self, container: str) -> ContainerUsage | None:
        """Read the container's cgroup, which is on the daemon's host."""
        return kernel.usage(container, self._clock.wall()) if self._sdk.is_local else None

    def environment(self, container: str) -> dict[str, str]:
        """A variable without a value is left out."""
        found = self._inspect(container)
        pairs = (found.config.env or ()) if found else ()
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def _inspect(self, container: str) -> InspectedContainer | None:
        with self._sdk.errors(f"cannot inspect container {container[:12]}"):
            try:
                found = read(self._sdk.api.inspect_container(container), InspectedContainer)
            except NotFound:
                return None
        return self._sdk.dialect.container(found)

    def execute(self, container: str, command: tuple[str, ...], timeout_seconds: float) -> CheckResult:
        """A command that hangs is killed."""
        return self._health_commands.execute(container, command, timeout_seconds)

    def capture(self, container: str, timeout_seconds: float, max_bytes: int) -> Captured:
        """Use `TaskRuntime`, which can attach to a container."""
        return capture(
            self._sdk.tasks,
            self._clock,
            self._cancellation,
            container,
            timeout_seconds=timeout_seconds,
            max_bytes=max_bytes,
        )

    def logs(self, container: str, tail: int) -> tuple[str, ...]:
        """Invalid UTF-8 is replaced."""
        return tuple(line.text for line in self.read_log(container, tail=tail))

    def logs_since(self, container: str, after: str) -> tuple[tuple[str, str], ...]:
        """Read the log again each time: a stream that is silent for long would break."""
        found = self.read_log(container, tail=OUTPUT_LINES)
        return tuple((line.time, line.text) for line in found if line.time > after)

    def read_log(
        self, container: str, *, since: str = "", tail: int | None = None, follow: bool = False
    ) -> Iterator[LogLine]:
        """Docker searches for whole seconds, and finds the end of a log without reading all of it."""
        seconds = self._clock.seconds(since) if since else 0
        found = read_log(self._sdk.tasks, self._clock, container, seconds, tail, follow=follow)
        return (line for line in found if line.time >= since)

    def signal(self, container: str, name: str) -> None:
        """The daemon refuses a container that has exited."""
        try:
            with self._sdk.errors(f"cannot send {name} to container {container[:12]}"):
                self._sdk.api.kill(container, signal=name)
        except ConductorError:
            if self._runs(container) is not False:
                raise

    def stop(self, container: str, grace_seconds: float) -> bool:
        """Pass the grace period to the SDK, which adds it to its own deadline; without it, the SDK times out after 70 s."""
        try:
            with self._sdk.errors(f"cannot stop container {container[:12]}"), contextlib.suppress(NotFound):
                self._sdk.api.stop(container, timeout=math.ceil(grace_seconds))
        except ConductorError:
            if self._runs(container) is not False:
                raise
        state = self.inspect(container)
        return state is not None and out_of_memory.is_possible(state)

    def remove(self, container: str) -> None:
        """A conflict means that the container is being removed already: wait for its end. Ignore any error once it is gone."""
        try:
            with self._sdk.errors(lambda: f"cannot remove container {self._name(container)}"):
                try:
                    if self._sdk.dialect.removal_waits:
                        self._sdk.tasks.kill(container, "SIGKILL")
                    self._sdk.api.remove_container(container, force=True, v=True)
                except APIError as error:
                    if error.status_code != CONFLICT or not self._await_removal(container):
                        raise
        except ConductorError:
            if not self._is_gone(container):
                raise

    def remove_volumes(self, service: str, keep: Collection[str]) -> None:
        """Docker refuses to remove a volume that a container uses, so that volume stays."""
        ours = [f"{labels.INSTANCE}={self._instance}", f"{labels.SERVICE}={service}"]
        with self._sdk.errors(f"cannot remove volumes of {service}"):
            found = read(self._sdk.api.volumes(filters={"label": ours}), ListedVolumes).volumes or []
            found.sort(key=lambda one: one.created_at, reverse=True)
            kept = [one.name for one in found if (one.labels or {}).get(labels.REVISION) in keep][:KEPT_VOLUMES]
            for one in found:
                if one.name not in kept:
                    with contextlib.suppress(APIError):
                        self._sdk.api.remove_volume(one.name)

    def _await_removal(self, container: str) -> bool:
        """Return True once the container is gone, False when it still exists after the deadline of a call."""
        until = self._clock.monotonic() + DEADLINE_SECONDS
        while not (gone := self._is_gone(container)) and self._clock.monotonic() < until:
            self._clock.sleep(REMOVAL_POLL_SECONDS)
        return gone

    def _is_gone(self, container: str) -> bool:
        """Return False when it is unknown."""
        with contextlib.suppress(ConductorError):
            return self.inspect(container) is None
        return False
