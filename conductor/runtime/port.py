"""The runtime port: what Conductor needs from whatever runs containers."""

from collections.abc import Callable, Collection, Iterator
from typing import Protocol

import msgspec

from conductor.definitions.model import Network
from conductor.errors import ConductorError
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.release import Image
from conductor.plan.replica import CheckResult, Containers, ContainerState


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """The output of a container. `failure` is why it is incomplete or invalid, empty after exit code 0."""

    stdout: bytes
    stderr: bytes
    failure: str


class ContainerEvent(msgspec.Struct, frozen=True):
    """An event of a replica of `service`. `fewer`: one fewer replica can serve. `exited`: the container exited."""

    service: str
    container: str
    fewer: bool
    exited: bool = False


class RuntimeUnavailable(ConductorError):  # noqa: N818 (a state that callers wait out)
    """The runtime does not answer."""


class Runtime(Protocol):
    """The containers of one instance. Each call has a deadline and raises `ConductorError` with a sentence."""

    def containers(self, service: str | None = None) -> Containers:
        """Return all containers of this instance, or of one service, in any state."""

    def events(self) -> Iterator[ContainerEvent]:
        """Yield the events of this instance's replicas until the stream ends."""

    def image(self, reference: str) -> Image | None:
        """Return the local image, or None."""

    def pull(self, reference: str, progress: Callable[[str], None]) -> Image:
        """Fetch an image. Raise for errors inside the stream as well.

        `progress` receives the latest status at least every 0.2 s and may raise to stop waiting.
        """

    def ensure_network(self, network: Network) -> None:
        """Create the instance's network if absent. Refuse a conflict of name, subnet or route."""

    def check_ports(self, low: int, high: int) -> None:
        """Refuse a range of host ports that overlaps the host's range for outgoing connections."""

    def check_volumes(self, volumes: Collection[str]) -> None:
        """Refuse volumes whose source file is missing on the host."""

    def used_addresses(self, network: Network) -> frozenset[str]:
        """Return every address in use: IPs on the network, and the addresses of this instance's replicas."""

    def create(self, spec: ContainerSpec) -> str:
        """Return the id of a new container. One that an earlier, unclear answer left behind is found and used."""

    def start(self, container: str) -> None:
        """Start a container; a bad command or a taken address is an error."""

    def inspect(self, container: str) -> ContainerState | None:
        """Return the state of a container now, or None when it does not exist."""

    def environment(self, container: str) -> dict[str, str]:
        """Return a container's variables, its image's included; empty when it does not exist. They include secrets."""

    def execute(self, container: str, command: tuple[str, ...], timeout_seconds: float) -> CheckResult:
        """Run a command inside a container as a health check: exit code 0 is healthy, `output` is the end of its output."""

    def capture(self, container: str, timeout_seconds: float, max_bytes: int) -> Captured:
        """Start a created container and read its output to the end, within both limits."""

    def logs(self, container: str, tail: int) -> tuple[str, ...]:
        """Return the last lines of both streams."""

    def logs_since(self, container: str, after: str) -> tuple[tuple[str, str], ...]:
        """Return (time stamp, line) of both streams, later than the time stamp `after` (RFC 3339)."""

    def stop(self, container: str, grace_seconds: float) -> bool:
        """Stop a container, kill it after the grace; True when it was killed. A missing container is no error."""

    def remove(self, container: str) -> None:
        """Remove a container, also a running one. A missing container is no error."""

    def remove_volumes(self, service: str, keep: Collection[str]) -> None:
        """Remove the volumes of removed replicas, except the latest ones of the revisions in `keep`.

        A replica has such a volume for each `VOLUME` of its image at which the definition mounts nothing.
        """
