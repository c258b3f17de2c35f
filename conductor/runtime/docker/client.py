"""The Docker runtime over the SDK: the only module that imports `docker`.

Every call has a deadline, and after an unclear response to a creation the container is looked up by its labels before the
creation is repeated.
"""

import contextlib
import errno
import functools
import ipaddress
import math
import os
from collections.abc import Callable, Collection, Iterator
from typing import Any

import docker
import docker.errors
import docker.types
import docker.utils.config
import requests.exceptions
import urllib3.exceptions

from conductor.cancellation import Cancellation
from conductor.clock import Clock
from conductor.definitions.model import Network
from conductor.errors import ConductorError
from conductor.plan import labels
from conductor.plan.container_spec import ContainerSpec, unmounted
from conductor.plan.release import Image
from conductor.plan.replica import CheckResult, Containers, ContainerState, Replica, TaskContainer
from conductor.runtime.docker import responses
from conductor.runtime.docker.attach import TaskRuntime, unreachable
from conductor.runtime.docker.capture import capture
from conductor.runtime.docker.create_request import create_request
from conductor.runtime.docker.credentials import credentials
from conductor.runtime.docker.exec_process import kill_tree
from conductor.runtime.docker.preflight import refuse_ephemeral, refuse_foreign, refuse_missing, refuse_route
from conductor.runtime.port import Captured, ContainerEvent, RuntimeUnavailable

DEADLINE_SECONDS = 60  # of one call; a pull has it between two messages of its stream
TICK_SECONDS = 0.1  # between two progress calls of a silent pull, which may raise to stop it
REMOVAL_POLL_SECONDS = 0.1
KEPT_VOLUMES = 20  # of removed replicas of one service, so that a crash loop does not fill the disk
OUTPUT_LINES = 2000  # read each time; of a hook that prints more in between, the first lines are lost
CHECK_OUTPUT_BYTES = 65536  # kept of a check's output; the caller shortens it after secrets are removed
NOT_FOUND, CONFLICT = 404, 409
_PULL_HINT = "check the image's name, the revision and the registry's credentials (docker login)"
_SPACE_HINT = "free space on the disk that holds Docker's images (docker system df), then run the command again"
_CONNECTION_ERRORS = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,  # raised unwrapped while a stream is read
    docker.errors.StreamParseError,  # the last message of a stream was incomplete
    OSError,
)

# The SDK reads the caller's Docker configuration in its constructor and fails on a damaged one. `credentials` reads it.
docker.utils.config.find_config_file = lambda *_: None


class DockerRuntime:
    """Implements `Runtime` with the SDK's low-level client: the high-level one inspects each listed container
    (200 containers: 205 ms against 25 ms, measured)."""

    def __init__(self, base_url: str, instance: str, clock: Clock, cancellation: Cancellation) -> None:
        self._base_url = base_url
        self._clock = clock
        self._cancellation = cancellation
        self._instance = instance
        self._hanging: dict[str, str] = {}  # health commands that may still run, by container

    @functools.cached_property
    def _api(self) -> Any:
        """Return the client, connected on first use, with the newest version of the API that both sides support."""
        try:
            return docker.APIClient(base_url=self._base_url, version="auto", timeout=DEADLINE_SECONDS)
        except (docker.errors.DockerException, *_CONNECTION_ERRORS) as error:
            cause = _system_error(error)
            if cause is None:
                raise _translated(error, f"cannot reach Docker at {self._base_url}") from error
            raise unreachable(self._base_url, cause) from error

    def containers(self, service: str | None = None) -> Containers:
        """One list call, filtered by exact labels."""
        exact = [f"{labels.INSTANCE}={self._instance}", *([f"{labels.SERVICE}={service}"] if service else [])]
        with _errors("cannot list containers"):
            return responses.containers(self._api.containers(all=True, filters={"label": exact}))

    def events(self) -> Iterator[ContainerEvent]:
        """The only call without a deadline: a stream may be silent for as long as the daemon runs."""
        exact = [f"{labels.INSTANCE}={self._instance}", f"{labels.KIND}=service"]
        filters = {"type": "container", "label": exact, "event": ["start", "die", "destroy", "pause", "unpause"]}
        with _errors("cannot follow Docker's events"):
            for event in self._api.events(decode=True, filters=filters):
                actor = event.get("Actor", {})
                service = actor.get("Attributes", {}).get(labels.SERVICE, "")
                action = event.get("Action")
                fewer = action in {"die", "destroy", "pause"}
                yield ContainerEvent(service, actor.get("ID", ""), fewer=fewer, exited=action == "die")

    def image(self, reference: str) -> Image | None:
        """Only local images are searched."""
        with _errors(f"cannot inspect image {reference}"):
            try:
                return responses.image(self._api.inspect_image(reference), reference)
            except docker.errors.ImageNotFound:
                return None

    def pull(self, reference: str, progress: Callable[[str], None]) -> Image:
        """Read the stream itself: the SDK's own `pull` ignores errors inside it (docker-py#2286)."""
        status = ""
        name, at, tag = reference.partition("@")  # a digest stands where a tag does
        if not at:
            name, _, tag = reference.rpartition(":")
        with _errors(f"cannot pull image {reference}", hint=_PULL_HINT):
            api, auth = self._api, credentials(name, self._clock.monotonic, lambda: progress(status))
            stream = responses.in_background(
                lambda: api.pull(name, tag=tag, stream=True, decode=True, auth_config=auth), TICK_SECONDS
            )
            for message in stream:
                if message is not None:
                    if "error" in message:
                        raise _pull_error(reference, str(message["error"]))
                    parts = (message.get("id"), message.get("status"), message.get("progress"))
                    status = " ".join(filter(None, parts))
                progress(status)
        found = self.image(reference)
        if found is None:
            raise ConductorError(f"cannot find image {reference} after it was pulled", _PULL_HINT)
        return found

    def ensure_network(self, network: Network) -> None:
        """Create the network unless it exists; refuse another owner, another subnet, or a subnet that covers a host route."""
        with _errors(f"cannot inspect network {network.name}"):
            found = [n for n in self._api.networks(names=[network.name]) if n["Name"] == network.name]
        if found:
            refuse_foreign(network, found[0], self._instance)
            return
        refuse_route(network)
        pool = docker.types.IPAMPool(
            subnet=network.subnet,
            iprange=network.tasks,
            gateway=str(next(ipaddress.IPv4Network(network.subnet).hosts())),
        )
        with _errors(f"cannot create network {network.name} ({network.subnet})"):
            self._api.create_network(
                network.name,
                driver="bridge",
                check_duplicate=True,
                ipam=docker.types.IPAMConfig(pool_configs=[pool]),
                labels={labels.INSTANCE: self._instance},
            )

    def check_ports(self, low: int, high: int) -> None:
        """Compare with the kernel's range."""
        refuse_ephemeral(low, high)

    def check_volumes(self, volumes: Collection[str]) -> None:
        """Only a daemon on this host has this host's files."""
        if self._base_url.startswith("unix://"):
            refuse_missing(volumes)

    def used_addresses(self, network: Network) -> frozenset[str]:
        """The labels of this instance's replicas, also stopped ones, and all endpoints of the network."""
        with _errors(f"cannot inspect network {network.name}"):
            endpoints = self._api.inspect_network(network.name)["Containers"].values()
        ours = {replica.address for replica in self.containers().replicas if replica.address}
        return frozenset(ours | {str(e["IPv4Address"]).partition("/")[0] for e in endpoints})

    def create(self, spec: ContainerSpec) -> str:
        """After a timeout or a status 500 the container may exist: look for it by its labels, then repeat the request once."""
        try:
            return self._create(spec)
        except (docker.errors.APIError, *_CONNECTION_ERRORS) as error:
            unclear = not isinstance(error, docker.errors.APIError) or error.is_server_error()
            found = self._find(spec)
            if found:
                return found
            with _errors(f"cannot create container {spec.name}"):
                if unclear:
                    return self._create(spec)
                raise

    def _find(self, spec: ContainerSpec) -> str | None:
        change, listed = spec.labels[labels.CHANGE], self.containers()
        every: tuple[Replica | TaskContainer, ...] = (*listed.replicas, *listed.tasks)
        return next((one.id for one in every if one.name == spec.name and one.change == change), None)

    def _create(self, spec: ContainerSpec) -> str:
        volumes: tuple[str, ...] = ()
        if spec.labels.get(labels.KIND) == "service" and (image := self.image(spec.image_id)):
            volumes = unmounted(image.volumes, spec.volumes, spec.tmpfs)
        return str(self._api.create_container_from_config(create_request(spec, volumes), spec.name)["Id"])

    def start(self, container: str) -> None:
        """If the request fails but the container runs, the start succeeded."""
        try:
            with _errors(lambda: f"cannot start container {self._name(container)}"):
                self._api.start(container)
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
        with contextlib.suppress(docker.errors.APIError, *_CONNECTION_ERRORS):
            return str(self._api.inspect_container(container)["Name"]).lstrip("/")
        return container[:12]

    def inspect(self, container: str) -> ContainerState | None:
        """The address is the one that the daemon reports, not the requested one."""
        found = self._inspect(container)
        return responses.container_state(found) if found else None

    def environment(self, container: str) -> dict[str, str]:
        """A variable without a value is left out."""
        pairs = ((self._inspect(container) or {}).get("Config") or {}).get("Env") or []
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def _inspect(self, container: str) -> dict[str, Any] | None:
        with _errors(f"cannot inspect container {container[:12]}"):
            try:
                found: dict[str, Any] = self._api.inspect_container(container)
            except docker.errors.NotFound:
                return None
        return found

    def execute(self, container: str, command: tuple[str, ...], timeout_seconds: float) -> CheckResult:
        """Keep at most `CHECK_OUTPUT_BYTES` from the end of both streams. A command that hangs is killed.

        If a command could not be killed, no other command is started in this container until that one has ended.
        """
        began, shown, unknown, made = self._clock.monotonic(), "", False, ""
        try:
            if self._hangs(container):
                return CheckResult(ok=False, seconds=0.0, error=f"{command[0]} of an earlier check is still running")
            with _errors(f"cannot run {command[0]}"):
                made = self._api.exec_create(container, list(command))["Id"]
                stream = self._api.exec_start(made, socket=True)
            output = responses.read_frames(
                stream, lambda: began + timeout_seconds - self._clock.monotonic(), CHECK_OUTPUT_BYTES
            )
            with _errors(f"cannot read the exit code of {command[0]}"):
                code = self._api.exec_inspect(made)["ExitCode"]
        except TimeoutError:
            error = f"{command[0]} did not end within {timeout_seconds:g}s"
        except OSError as lost:
            error = f"lost the connection to {command[0]}: {lost.strerror or lost}"
        except ConductorError as refused:
            error, unknown = refused.sentence, True
        else:
            error = "" if code == 0 else f"{command[0]} exited with code {code}"
            shown, made = output.decode(errors="replace").strip() if error else "", ""
        if made:
            self._kill(container, made)
        seconds = self._clock.monotonic() - began
        return CheckResult(ok=not error, seconds=seconds, output=shown, error=error, unknown=unknown)

    def _kill(self, container: str, command: str) -> None:
        """Kill a command that was started inside a container, and remember it until it has ended."""
        self._hanging[container] = command
        with contextlib.suppress(ConductorError), _errors(f"cannot inspect a command of {container[:12]}"):
            kill_tree(int(self._api.exec_inspect(command)["Pid"]), container)

    def _hangs(self, container: str) -> bool:
        """Return whether a command that had to be killed is still running."""
        command = self._hanging.get(container)
        if command is not None:
            with _errors(f"cannot inspect a command of {container[:12]}"), contextlib.suppress(docker.errors.NotFound):
                if self._api.exec_inspect(command)["Running"]:
                    return True
            self._hanging.pop(container, None)
        return False

    def capture(self, container: str, timeout_seconds: float, max_bytes: int) -> Captured:
        """Use `TaskRuntime`, which can attach to a container."""
        return capture(
            TaskRuntime(self._base_url, self._instance),
            self._clock,
            self._cancellation,
            container,
            timeout_seconds=timeout_seconds,
            max_bytes=max_bytes,
        )

    def logs(self, container: str, tail: int) -> tuple[str, ...]:
        """Invalid UTF-8 is replaced."""
        return tuple(self._log(container, tail=tail).splitlines())

    def logs_since(self, container: str, after: str) -> tuple[tuple[str, str], ...]:
        """Read the log again each time: a stream that is silent for long would break."""
        text = self._log(container, timestamps=True, tail=OUTPUT_LINES)
        lines = (line.partition(" ") for line in text.splitlines())
        return tuple((stamp, text) for stamp, _, text in lines if stamp > after)

    def _log(self, container: str, **options: Any) -> str:
        """Return an empty log for a container that does not exist (404) or is being removed (409)."""
        with _errors(f"cannot read the log of container {container[:12]}"):
            try:
                data: bytes = self._api.logs(container, stdout=True, stderr=True, **options)
            except docker.errors.APIError as error:
                if error.status_code not in {NOT_FOUND, CONFLICT}:
                    raise
                return ""
        return data.decode(errors="replace")

    def stop(self, container: str, grace_seconds: float) -> bool:
        """Pass the grace to the SDK, which adds it to its own deadline; without it, the SDK times out after 70 s."""
        try:
            with _errors(f"cannot stop container {container[:12]}"), contextlib.suppress(docker.errors.NotFound):
                self._api.stop(container, timeout=math.ceil(grace_seconds))
        except ConductorError:
            if self._runs(container) is not False:
                raise
        state = self.inspect(container)
        return state is not None and state.exit_code == 137 and not state.out_of_memory

    def remove(self, container: str) -> None:
        """A conflict means that the container is being removed already: wait for its end. Ignore any error once it is gone."""
        try:
            with _errors(lambda: f"cannot remove container {self._name(container)}"):
                try:
                    self._api.remove_container(container, force=True, v=True)
                except docker.errors.APIError as error:
                    if error.status_code != CONFLICT or not self._await_removal(container):
                        raise
        except ConductorError:
            if not self._is_gone(container):
                raise

    def remove_volumes(self, service: str, keep: Collection[str]) -> None:
        """Docker refuses to remove a volume that a container uses, so that volume stays."""
        ours = [f"{labels.INSTANCE}={self._instance}", f"{labels.SERVICE}={service}"]
        with _errors(f"cannot remove volumes of {service}"):
            found = self._api.volumes(filters={"label": ours})["Volumes"] or []
            found.sort(key=lambda one: str(one["CreatedAt"]), reverse=True)
            kept = [one["Name"] for one in found if one["Labels"].get(labels.REVISION) in keep][:KEPT_VOLUMES]
            for one in found:
                if one["Name"] not in kept:
                    with contextlib.suppress(docker.errors.APIError):
                        self._api.remove_volume(one["Name"])

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


@contextlib.contextmanager
def _errors(cannot: str | Callable[[], str], hint: str = "") -> Iterator[None]:
    """Translate what the SDK raises into a `ConductorError` that begins with `cannot`; a callable is called only then."""
    try:
        yield
    except (docker.errors.DockerException, *_CONNECTION_ERRORS) as error:
        raise _translated(error, cannot if isinstance(cannot, str) else cannot(), hint) from error


def _translated(error: BaseException, cannot: str, hint: str = "") -> ConductorError:
    match error:
        case docker.errors.APIError():
            return ConductorError(f"{cannot}: {responses.message(str(error.explanation or error))}", hint)
        case docker.errors.DockerException(__cause__=BaseException() as cause):  # how the SDK wraps a failed connection
            return _translated(cause, cannot, hint)
        case requests.exceptions.Timeout() | urllib3.exceptions.TimeoutError():
            return RuntimeUnavailable(f"{cannot}: Docker did not answer within {DEADLINE_SECONDS} s")
        case OSError() | urllib3.exceptions.HTTPError() | docker.errors.StreamParseError():
            hint = "check it with systemctl status docker"
            return RuntimeUnavailable(f"{cannot}: the connection to Docker broke", hint)
        case _:
            return ConductorError(f"{cannot}: {error}", hint)


def _system_error(error: BaseException | None) -> OSError | None:
    """Return the system call's error that the SDK and its libraries wrapped, if there is one."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None:
            return error
        error = error.__cause__ or error.__context__
    return None


def _pull_error(reference: str, text: str) -> ConductorError:
    """Return the error of a message in a pull's stream.

    The daemon has no code for a full disk: only the kernel's own words for ENOSPC inside the text tell it apart.
    """
    hint = _SPACE_HINT if os.strerror(errno.ENOSPC).lower() in text.lower() else _PULL_HINT
    return ConductorError(f"cannot pull image {reference}: {text}", hint)
