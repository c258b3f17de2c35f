"""The runtime port: what Conductor needs from whatever runs containers."""

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Protocol

import msgspec

from conductor.definitions.host import Network
from conductor.definitions.model import Mount
from conductor.errors import ConductorError
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.garbage import LocalImage
from conductor.plan.log import LogLine
from conductor.plan.release import Image
from conductor.plan.replica import CheckResult, Containers, ContainerState, ContainerUsage

if TYPE_CHECKING:  # a task does not need it
    from conductor.plan.listening import Listener


class Captured(msgspec.Struct, frozen=True, kw_only=True):
    """The output of a container. `failure` is why it is incomplete or invalid, empty after exit code 0."""

    stdout: bytes
    stderr: bytes
    failure: str


class ContainerEvent(msgspec.Struct, frozen=True):
    """An event of a replica of `service`. `fewer`: one fewer replica can serve. `exited`: the container exited, with `exit_code`
    if the runtime reports one."""

    service: str
    container: str
    fewer: bool
    exited: bool = False
    exit_code: int | None = None


class Daemon(msgspec.Struct, frozen=True, kw_only=True):
    """The daemon that runs the containers, a `product` in some `version`. `required` is what Conductor needs of it, `supported`
    whether it has that.

    `keeps_containers`: containers keep running while the daemon restarts. `data_dir` is where it stores images and logs,
    empty when the daemon is on another host. `time` is its clock (RFC 3339).
    """

    product: str = "Docker"
    version: str
    required: str
    supported: bool
    keeps_containers: bool
    data_dir: str
    time: str


class RuntimeUnavailable(ConductorError):  # noqa: N818 (a state that callers wait out)
    """The runtime is not responding."""


class NotManager(RuntimeUnavailable):
    """The host is not a manager of a fleet, so nothing of the fleet can be read or changed there."""


class LogUnreadable(ConductorError):  # noqa: N818 (a property of the logging driver)
    """The container's logging driver cannot read logs."""


class RuntimeDenied(ConductorError):  # noqa: N818 (waiting does not help)
    """The caller has no permission to use the runtime."""


class Runtime(Protocol):
    """The containers of one instance. Each call has a deadline and raises `ConductorError` with a sentence."""

    def daemon(self) -> Daemon:
        """Return the version, the settings and the clock of the daemon."""

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

    def check_credentials(self, image: str) -> None:
        """Refuse an image whose registry's credentials cannot be read. The registry itself is not contacted."""

    def local_images(self) -> tuple[LocalImage, ...]:
        """Return all images of this host, including those that Conductor did not pull."""

    def remove_image(self, reference: str, image_id: str) -> None:
        """Remove a reference, and the image with it if that was its last one. Raise if a container uses the image.

        Do nothing when the reference is missing or belongs to another image than `image_id`.
        """

    def ensure_network(self, network: Network) -> None:
        """Create the instance's network if absent. Refuse a conflict of name, subnet or route."""

    def check_ports(self, low: int, high: int) -> None:
        """Refuse a range of host ports that overlaps the host's range for outgoing connections."""

    def check_volumes(self, volumes: Collection[str | Mount]) -> None:
        """Refuse volumes whose source must exist on the host and does not."""

    def check_networks(self, names: Collection[str]) -> None:
        """Refuse networks that do not exist."""

    def used_addresses(self, network: Network) -> frozenset[str]:
        """Return every address in use: IPs on the network, and the addresses of this instance's replicas."""

    def create(self, spec: ContainerSpec) -> str:
        """Return the id of a new container. One that an earlier, unclear answer left behind is found and used."""

    def start(self, container: str) -> None:
        """Start a container; a bad command or a taken address is an error."""

    def inspect(self, container: str) -> ContainerState | None:
        """Return the state of a container now, or None when it does not exist."""

    def inspect_exit(self, container: str, *, wait: bool) -> ContainerState | None:
        """As `inspect`, and find out whether the kernel killed the container for lack of memory.

        The kernel's notice may reach the daemon only after the exit: with `wait`, wait for it, for at most a few seconds.
        """

    def listeners(self, container: str) -> "tuple[Listener, ...] | None":
        """Return what a running container listens on; None when that cannot be read."""

    def usage(self, container: str) -> ContainerUsage | None:
        """Return the memory and the start of a running container, without a call to the daemon; None when it is not known."""

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

    def read_log(
        self, container: str, *, since: str = "", tail: int | None = None, follow: bool = False
    ) -> Iterator[LogLine]:
        """Yield the lines from the time stamp `since` on, at most the last `tail` (1 or more), in the order of the log.

        With `follow`, wait for more lines until the container exits. A container that does not exist has no lines. Raise
        `RuntimeUnavailable` when the connection breaks, and `LogUnreadable` when the log cannot be read.
        """

    def signal(self, container: str, name: str) -> None:
        """Send a signal (`SIGTERM`) to the first process. A container that has exited or is missing is no error."""

    def stop(self, container: str, grace_seconds: float) -> bool:
        """Stop a container, kill it after the grace period; True when it was killed. A missing container is no error."""

    def remove(self, container: str) -> None:
        """Remove a container, also a running one. A missing container is no error."""

    def remove_volumes(self, service: str, keep: Collection[str]) -> None:
        """Remove the volumes of removed replicas, except the latest ones of the revisions in `keep`.

        A replica has such a volume for each `VOLUME` of its image at which the definition mounts nothing.
        """
