"""What the rest of Conductor asks of a container engine and of a health check; one implementation of each until a second."""

from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec

from conductor.definitions.model import Network
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.values import Attempt, Container, ContainerState, Image


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """What a container printed, streams apart, and why that is not all or not good: empty when it ended with code 0."""

    output: bytes
    errors: bytes
    failure: str


class Change(msgspec.Struct, frozen=True):
    """Something has happened to a container of `service`; `fewer` when one less can serve, `died` when it has exited."""

    service: str
    container: str
    fewer: bool
    died: bool = False


class Runtime(Protocol):
    """Containers of one instance on one daemon. Each call has a deadline and raises `ConductorError` with a sentence."""

    def containers(self, service: str | None = None) -> tuple[Container, ...]:
        """All containers of this instance, or of one service of it, in any state."""

    def changes(self) -> Iterator[Change]:
        """One for each event that concerns a container of a service of this instance, until the stream ends."""

    def image(self, reference: str) -> Image | None:
        """The local image, or None."""

    def pull(self, reference: str, progress: Callable[[str], None]) -> Image:
        """Fetch an image; errors inside the stream are errors.

        `progress` is called with the last words at least every 0.2 s, and may raise to end the waiting.
        """

    def ensure_network(self, network: Network) -> None:
        """Make the instance's network if absent; a clash of name, subnet or route is refused before anything is made."""

    def check_ports(self, low: int, high: int) -> None:
        """Refuse a range of host ports that the host deals by itself."""

    def used_addresses(self, network: Network) -> frozenset[str]:
        """Every address that a container may come to have: IPs on the network, and `127.0.0.1:PORT` labels."""

    def create(self, spec: ContainerSpec) -> str:
        """The id of a new container; one that an unclear earlier answer left behind is found and used."""

    def start(self, container: str) -> None:
        """Start it; a bad command or a taken address is an error."""

    def inspect(self, container: str) -> ContainerState | None:
        """How it is now, or None when there is no such container."""

    def environment(self, container: str) -> dict[str, str]:
        """What it was given, and what its image brings; nothing when there is no such container. It holds secrets."""

    def execute(self, container: str, command: tuple[str, ...], timeout_seconds: float) -> Attempt:
        """Run a command inside it as a health check: exit code 0 is healthy, the last output is the head."""

    def capture(self, container: str, timeout_seconds: float, most_bytes: int) -> Captured:
        """Start a created container and read what it prints to its end, at most so long and so much."""

    def logs(self, container: str, tail: int) -> tuple[str, ...]:
        """The last lines of both streams."""

    def output(self, container: str, after: str) -> tuple[tuple[str, str], ...]:
        """Lines of both streams with their time stamps (RFC 3339), later than the stamp `after`."""

    def stop(self, container: str, grace_seconds: float) -> bool:
        """Ask it to stop, kill it after the grace; True when it had to be killed. Already gone is fine."""

    def remove(self, container: str) -> None:
        """Remove it, running or not; already gone is fine."""
