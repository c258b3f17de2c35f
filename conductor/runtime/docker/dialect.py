"""What differs between the two daemons that speak Docker's API: Docker itself, and Podman over its compatible API.

Podman adds a header of its own to its responses, so that clients can tell it apart (its documentation of `/_ping`). Everything
here was measured with Podman 5.4.2; the rest of the runtime knows only Docker's words and shapes (pure).
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from msgspec.structs import replace

from conductor.plan import labels
from conductor.runtime.docker.shapes import (
    EndpointSettings,
    ExitCode,
    ExitStatus,
    HostConfig,
    InspectedContainer,
    Ipam,
    LeaseRange,
    ListedContainer,
    ListedImage,
    ListedNetwork,
    NamedImage,
    NetworkSettings,
    PodmanNetwork,
    Pool,
    State,
    Version,
    read_json,
)

I = TypeVar("I", bound=NamedImage)  # noqa: E741

API: Final = "1.41"  # of the Engine: the shapes of requests and responses
HEADER: Final = "Libpod-API-Version"
LIBPOD: Final = "/v5.0.0/libpod"  # Podman's own API, for what the compatible one leaves out
NOT_EXECUTABLE, NOT_FOUND = 126, 127  # exit codes, as a shell's and Docker's
# How Podman ends the error of a start: constants of its source (libpod/define/errors.go). It has no exit code for them.
_START_ERRORS: Final = {
    "OCI runtime attempted to invoke a command that was not found": NOT_FOUND,
    "OCI permission denied": NOT_EXECUTABLE,
}
_STATES: Final = {
    "stopping": "running",
    "stopped": "exited",
}  # during its grace period, and between its exit and its cleanup
_RUNNING: Final = {"running", "stopping", "paused"}
_REGISTRIES: Final = ("docker.io/library/", "docker.io/", "localhost/")  # that Podman adds to a name without a registry


class Dialect:
    """Docker's own."""

    product = "Docker"
    required = f"Docker 20.10 or newer (Engine API {API})"
    # the daemon's names of events, and Docker's
    events: Mapping[str, str] = {name: name for name in ("start", "die", "destroy", "pause", "unpause")}
    prepares_at_attach = False  # so that the attach already fails for a command that cannot be started
    removal_waits = False  # the removal of a running container takes the grace period of its stop
    ignores_volume_labels = False  # when the creation of a container also creates the volume
    any_404_is_no_image = False  # the SDK does not know the daemon's words for a missing image
    has_oom_events = True  # without them, the state of an exited container is complete
    keeps_containers = False  # while its own process restarts, whatever its settings
    logs_to_file = False  # from which a log has to be read
    waits_before_start = True  # for the exit

    def supports(self, version: Version) -> bool:
        """Return whether the daemon of a response to `/version` has what is required."""
        return api_numbers(version.api_version) >= api_numbers(API)

    def wait_path(self, container: str) -> str:
        """Return the path of the request that waits for a container's exit. Docker has to be asked before the start."""
        return f"/containers/{container}/wait?condition=next-exit"

    def exit_code(self, body: bytes) -> int:
        """Return the exit code in the response to that request. Raise `MalformedResponse` for any other body."""
        return read_json(body, ExitStatus).status_code

    def reference(self, name: str) -> str:
        """Return the name of an image as a definition writes it."""
        return name

    def image(self, found: I) -> I:
        """Return an image, listed or inspected, in Docker's words."""
        return found

    def row(self, row: ListedContainer) -> ListedContainer:
        """Return a row of the list of containers in Docker's words."""
        return row

    def container(self, found: InspectedContainer) -> InspectedContainer:
        """Return an inspected container in Docker's words."""
        return found

    def network(self, found: ListedNetwork, _get: Callable[[str], PodmanNetwork]) -> ListedNetwork:
        """Return a listed network in Docker's words. `get` makes one more request."""
        return found


class Podman(Dialect):
    """Podman's. A container belongs to a process of its own (conmon), so the service may end while containers run."""

    product = "Podman"
    required = "Podman 5"
    events: Mapping[str, str] = {
        "start": "start",
        "died": "die",
        "remove": "destroy",
        "pause": "pause",
        "unpause": "unpause",
    }
    prepares_at_attach = True
    removal_waits = True
    ignores_volume_labels = True
    any_404_is_no_image = True
    has_oom_events = False
    keeps_containers = True
    logs_to_file = True
    waits_before_start = False

    def supports(self, version: Version) -> bool:
        """Earlier versions have the same API, but were not tested."""
        return super().supports(version) and re.match(r"[5-9]\b|\d\d", version.version) is not None

    def wait_path(self, container: str) -> str:
        """It keeps the exit code, even for some time after the removal. Its `next-exit` may miss an exit."""
        return f"{LIBPOD}/containers/{container}/wait"

    def exit_code(self, body: bytes) -> int:
        """The response is a number."""
        return read_json(body, ExitCode)

    def reference(self, name: str) -> str:
        """Podman adds a registry to a name without one."""
        return next((name.removeprefix(one) for one in _REGISTRIES if name.startswith(one)), name)

    def image(self, found: I) -> I:
        """The names differ, and the id of the parent has no prefix."""
        tags, digests = (
            [self.reference(name) for name in names or ()] for names in (found.repo_tags, found.repo_digests)
        )
        named = replace(found, repo_tags=tags, repo_digests=digests)
        if not isinstance(named, ListedImage) or not named.parent_id:
            return named
        return replace(named, parent_id=f"sha256:{named.parent_id.removeprefix('sha256:')}")

    def row(self, row: ListedContainer) -> ListedContainer:
        """Only the states differ."""
        return replace(row, state=_STATES.get(row.state, row.state))

    def container(self, found: InspectedContainer) -> InspectedContainer:
        """A container that does not run has no address. The network is the one of its label: `NetworkMode` does not name it."""
        state, settings = found.state, found.network_settings
        state = replace(
            state,
            running=state.status in _RUNNING,
            exit_code=state.exit_code or self._start_error(state),
            status=_STATES.get(state.status, state.status),
        )
        if not state.running:
            settings = NetworkSettings(networks=dict.fromkeys(settings.networks, EndpointSettings(ip_address="")))
        ip = (found.config.labels or {}).get(labels.ADDRESS, "").partition(":")[0]
        mode = next((name for name, one in settings.networks.items() if ip and one.ip_address == ip), "")
        return replace(found, state=state, network_settings=settings, host_config=HostConfig(network_mode=mode))

    def _start_error(self, state: State) -> int:
        """Return the exit code of a command that could not be started, else 0."""
        end = state.error.rpartition(": ")[2]
        return _START_ERRORS.get(end, 0) if state.status == "created" else 0

    def network(self, found: ListedNetwork, get: Callable[[str], PodmanNetwork]) -> ListedNetwork:
        """The compatible API leaves out the range of addresses."""
        subnets = get(f"{LIBPOD}/networks/{found.name}/json").subnets
        pools = [Pool(subnet=one.subnet, ip_range=_range(one.lease_range)) for one in subnets]
        return replace(found, ipam=Ipam(config=pools))


def _range(lease: LeaseRange | None) -> str | None:
    """Return the network of a range of leases, which leaves out the first address of the network."""
    if not lease:
        return None
    first, last = ipaddress.IPv4Address(lease.start_ip), ipaddress.IPv4Address(lease.end_ip)
    return ", ".join(map(str, ipaddress.summarize_address_range(first - 1, last)))


def api_numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers, which compare as versions do."""
    return tuple(int(part) for part in version.split("."))


DOCKER: Final = Dialect()
PODMAN: Final = Podman()


def dialect_of(headers: Mapping[str, str], known: Dialect = DOCKER) -> Dialect:
    """Return the dialect of the daemon that sent these headers (any case, or lower case); `known` when they do not tell."""
    return PODMAN if HEADER in headers or HEADER.lower() in headers else known


def product_at(base_url: str) -> tuple[str, str]:
    """Return the name and the systemd unit of the daemon that is expected at an address, for messages while none answers."""
    return ("Podman", "podman.socket") if base_url.endswith("/podman.sock") else ("Docker", "docker")
