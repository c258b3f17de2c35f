"""The one door to the Docker daemon: no other module imports `docker`.

The daemon is not trusted: every call has a deadline, and an unclear answer to a create is looked up by label before
the create is repeated (DESIGN section 5).
"""

import contextlib
import errno
import functools
import ipaddress
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import docker
import docker.errors
import docker.types
import requests.exceptions
import urllib3.exceptions

from conductor.clock import Clock
from conductor.definitions.model import Network
from conductor.errors import ConductorError
from conductor.plan.container_spec import LABEL, ContainerSpec
from conductor.plan.values import Attempt, Container, ContainerState, Image
from conductor.runtime.docker.attach import TaskRuntime
from conductor.runtime.docker.capture import capture
from conductor.runtime.docker.create_request import create_request
from conductor.runtime.docker.preflight import refuse_ephemeral, refuse_foreign, refuse_route
from conductor.runtime.docker.responses import container, container_state, image, in_background, read_frames
from conductor.runtime.port import Captured, Change

DEADLINE_SECONDS = 60  # of one call; a pull has it between two messages of its stream
TICK_SECONDS = 0.1  # a silent pull hears Ctrl-C this often
OUTPUT_LINES = 2000  # looked at each time; a hook that says more in between loses the first of them
HEAD_BYTES = 65536  # of a check's output; what is shown of it is cut once secrets are out of it
_LOST = (
    requests.exceptions.RequestException,
    urllib3.exceptions.HTTPError,  # raw ones come out of a stream
    docker.errors.StreamParseError,  # its last message was cut
    OSError,
)


class DockerRuntime:
    """Implements `Engine` over the SDK's low-level client: one list call shows all containers (the high-level one
    inspects each: 205 ms against 25 ms for 200 containers, measured)."""

    def __init__(self, base_url: str, instance: str, clock: Clock) -> None:
        self._base_url = base_url
        self._clock = clock
        self._instance = instance

    @functools.cached_property
    def _api(self) -> Any:
        """Connected on first use, with the newest version of the API that both sides speak."""
        with _sentence(f"cannot reach Docker at {self._base_url}", self._base_url):
            return docker.APIClient(base_url=self._base_url, version="auto", timeout=DEADLINE_SECONDS)

    def containers(self, service: str | None = None) -> tuple[Container, ...]:
        """One list call, exact labels."""
        labels = [f"{LABEL}instance={self._instance}", *([f"{LABEL}service={service}"] if service else [])]
        with _sentence("cannot list containers"):
            found = self._api.containers(all=True, filters={"label": labels})
        return tuple(sorted((container(c) for c in found), key=lambda c: c.name))

    def changes(self) -> Iterator[Change]:
        """The one call without a deadline (the SDK's): a silent stream lasts as long as the daemon."""
        labels = [f"{LABEL}instance={self._instance}", f"{LABEL}kind=service"]
        filters = {"type": "container", "label": labels, "event": ["start", "die", "destroy", "pause", "unpause"]}
        with _sentence("cannot follow Docker's events"):
            for event in self._api.events(decode=True, filters=filters):
                actor = event.get("Actor", {})
                service = actor.get("Attributes", {}).get(f"{LABEL}service", "")
                action = event.get("Action")
                fewer = action in {"die", "destroy", "pause"}
                yield Change(service, actor.get("ID", ""), fewer=fewer, died=action == "die")

    def image(self, reference: str) -> Image | None:
        """Look in the local store only."""
        with _sentence(f"cannot look for image {reference}"):
            try:
                return image(self._api.inspect_image(reference), reference)
            except docker.errors.ImageNotFound:
                return None

    def pull(self, reference: str, progress: Callable[[str], None]) -> Image:
        """Stream the pull: the SDK's own `pull` ignores errors inside the stream (docker-py#2286)."""
        name, _, tag = reference.rpartition(":")
        with _sentence(f"cannot pull image {reference}", hint=_PULL_HINT):
            api, said = self._api, ""
            for message in in_background(lambda: api.pull(name, tag=tag, stream=True, decode=True), TICK_SECONDS):
                if message is not None:
                    if "error" in message:
                        hint = _ROOM_HINT if os.strerror(errno.ENOSPC).lower() in message["error"] else _PULL_HINT
                        raise ConductorError(f"cannot pull image {reference}: {message['error']}", hint)
                    words = (message.get("id"), message.get("status"), message.get("progress"))
                    said = " ".join(filter(None, words))
                progress(said)
        found = self.image(reference)
        if found is None:
            raise ConductorError(f"cannot find image {reference} after it was pulled", _PULL_HINT)
        return found

    def ensure_network(self, network: Network) -> None:
        """Refuse a foreign network of that name, another subnet, or a host route that the subnet would cover."""
        with _sentence(f"cannot look for network {network.name}"):
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
        with _sentence(f"cannot make network {network.name} ({network.subnet})"):
            self._api.create_network(
                network.name,
                driver="bridge",
                check_duplicate=True,
                ipam=docker.types.IPAMConfig(pool_configs=[pool]),
                labels={f"{LABEL}instance": self._instance},
            )

    def check_ports(self, low: int, high: int) -> None:
        """By the kernel's range."""
        refuse_ephemeral(low, high)

    def used_addresses(self, network: Network) -> frozenset[str]:
        """Labels of our own containers, also stopped ones, and endpoints that the daemon has given to anybody."""
        with _sentence(f"cannot look at network {network.name}"):
            endpoints = self._api.inspect_network(network.name)["Containers"].values()
        ours = {c.address for c in self.containers() if c.address}
        return frozenset(ours | {str(e["IPv4Address"]).partition("/")[0] for e in endpoints})

    def create(self, spec: ContainerSpec) -> str:
        """A timeout or a 500 may mean "done": look for the container by its labels, then repeat once."""
        try:
            return self._create(spec)
        except (docker.errors.APIError, *_LOST) as error:
            unclear = not isinstance(error, docker.errors.APIError) or error.is_server_error()
            found = self._find(spec)
            if found:
                return found
            with _sentence(f"cannot create container {spec.name}"):
                if unclear:
                    return self._create(spec)
                raise

    def _find(self, spec: ContainerSpec) -> str | None:
        same = (c for c in self.containers() if c.name == spec.name and c.change == spec.labels[f"{LABEL}upgrade"])
        return next((c.id for c in same), None)

    def _create(self, spec: ContainerSpec) -> str:
        return str(self._api.create_container_from_config(create_request(spec), spec.name)["Id"])

    def start(self, container: str) -> None:
        """Whatever the daemon answered: what runs has been started."""
        try:
            with _sentence(lambda: f"cannot start container {self._name(container)}"):
                self._api.start(container)
        except ConductorError:
            if not self._runs(container):
                raise

    def _runs(self, container: str) -> bool | None:
        """None is unknown."""
        try:
            state = self.inspect(container)
        except ConductorError:
            return None
        return state is not None and state.running

    def _name(self, container: str) -> str:
        with contextlib.suppress(docker.errors.APIError, *_LOST):
            return str(self._api.inspect_container(container)["Name"]).lstrip("/")
        return container[:12]

    def inspect(self, container: str) -> ContainerState | None:
        """The address is what the daemon says now, never what was asked for."""
        found = self._inspected(container)
        return container_state(found) if found else None

    def environment(self, container: str) -> dict[str, str]:
        """A variable without a value is left out."""
        pairs = ((self._inspected(container) or {}).get("Config") or {}).get("Env") or []
        return dict(pair.split("=", 1) for pair in pairs if "=" in pair)

    def _inspected(self, container: str) -> dict[str, Any] | None:
        with _sentence(f"cannot inspect container {container[:12]}"):
            try:
                found: dict[str, Any] = self._api.inspect_container(container)
            except docker.errors.NotFound:
                return None
        return found

    def execute(self, container: str, command: tuple[str, ...], timeout_seconds: float) -> Attempt:
        """Both streams, at most `HEAD_BYTES` from the end; one that hangs is left to itself (the API cannot kill it)."""
        began, head, unknown = self._clock.monotonic(), "", False
        try:
            with _sentence(f"cannot run {command[0]}"):
                made = self._api.exec_create(container, list(command))["Id"]
                stream = self._api.exec_start(made, socket=True)
            output = read_frames(stream, lambda: began + timeout_seconds - self._clock.monotonic())
            with _sentence(f"cannot see how {command[0]} ended"):
                code = self._api.exec_inspect(made)["ExitCode"]
        except TimeoutError:
            error = f"{command[0]} did not end within {timeout_seconds:g}s"
        except OSError as lost:
            error = f"{command[0]} was lost: {lost.strerror or lost}"
        except ConductorError as refused:
            error, unknown = refused.sentence, True
        else:
            error = "" if code == 0 else f"{command[0]} ended with code {code}"
            head = output[-HEAD_BYTES:].decode(errors="replace").strip() if error else ""
        seconds = self._clock.monotonic() - began
        return Attempt(ok=not error, seconds=seconds, head=head, error=error, unknown=unknown)

    def capture(self, container: str, timeout_seconds: float, most_bytes: int) -> Captured:
        """Over the other door, which has the streams."""
        return capture(TaskRuntime(self._base_url, self._instance), self._clock, container, timeout_seconds, most_bytes)

    def logs(self, container: str, tail: int) -> tuple[str, ...]:
        """Bytes that are no UTF-8 are replaced."""
        return tuple(self._log(container, tail=tail).splitlines())

    def output(self, container: str, after: str) -> tuple[tuple[str, str], ...]:
        """Asked again and again rather than followed: a stream that is silent for long would break."""
        text = self._log(container, timestamps=True, tail=OUTPUT_LINES)
        lines = (line.partition(" ") for line in text.splitlines())
        return tuple((stamp, text) for stamp, _, text in lines if stamp > after)

    def _log(self, container: str, **options: Any) -> str:
        """Nothing of a container that is gone (404) or about to be (409)."""
        with _sentence(f"cannot read the log of container {container[:12]}"):
            try:
                data: bytes = self._api.logs(container, stdout=True, stderr=True, **options)
            except docker.errors.APIError as error:
                if error.status_code not in {404, 409}:
                    raise
                return ""
        return data.decode(errors="replace")

    def stop(self, container: str, grace_seconds: float) -> bool:
        """The SDK adds the grace to its own deadline when it is passed (left out, it reads out at 70 s)."""
        try:
            with _sentence(f"cannot stop container {container[:12]}"), contextlib.suppress(docker.errors.NotFound):
                self._api.stop(container, timeout=math.ceil(grace_seconds))
        except ConductorError:
            if self._runs(container) is not False:
                raise
        state = self.inspect(container)
        return state is not None and state.exit_code == 137 and not state.out_of_memory

    def remove(self, container: str) -> None:
        """404 and "removal already in progress" are success, and so is any answer once it is gone."""
        try:
            with _sentence(lambda: f"cannot remove container {self._name(container)}"):
                self._api.remove_container(container, force=True, v=True)
        except ConductorError as error:
            if "already in progress" not in error.sentence and not self._gone(container):
                raise

    def _gone(self, container: str) -> bool:
        """Unknown is not gone."""
        with contextlib.suppress(ConductorError):
            return self.inspect(container) is None
        return False


_RUNTIME_WORDS = "unable to start container process: "  # before it: four layers of the daemon naming themselves
_ROOM_HINT = "make room on the disk that holds Docker's images (docker system df), then do it again"
_PULL_HINT = "check the image's name, the revision and the registry's credentials (docker login)"


@contextlib.contextmanager
def _sentence(what: str | Callable[[], str], base_url: str = "", hint: str = "") -> Iterator[None]:
    """Translate what the SDK raises into "cannot X: why"; `what` may be costly, as it is asked only then."""
    try:
        yield
    except (docker.errors.DockerException, *_LOST) as error:
        why, do = _why(error, base_url, hint)
        raise ConductorError(f"{what if isinstance(what, str) else what()}: {why}", do) from error


def _why(error: Exception, base_url: str, hint: str) -> tuple[str, str]:
    """Why, and what to do."""
    match error:
        case docker.errors.APIError():
            return _reason(error), hint
        case docker.errors.DockerException():
            return _unreachable(error, base_url)
        case requests.exceptions.Timeout() | urllib3.exceptions.TimeoutError():
            return f"Docker did not answer within {DEADLINE_SECONDS} s", ""
        case _:
            return "the connection to Docker broke", "is Docker running?"


def _reason(error: docker.errors.APIError) -> str:
    text = str(error.explanation or error).strip().rstrip(".")
    return text.rpartition(_RUNTIME_WORDS)[2].removesuffix(": unknown")


def _unreachable(error: Exception, base_url: str) -> tuple[str, str]:
    text = str(error)
    if "Permission denied" in text:
        return f"permission denied on {base_url}", "run as root or as a member of the group docker"
    if "No such file" in text or "Connection refused" in text:
        return "Docker is not running", "start it (systemctl start docker)"
    return text, "is Docker running? (systemctl status docker)"
