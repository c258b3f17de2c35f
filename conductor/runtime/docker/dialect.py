"""What differs between the two daemons that speak Docker's API: Docker itself, and Podman over its compatible API.

Podman adds a header of its own to its responses, so that clients can tell it apart (its documentation of `/_ping`). Everything
here was measured with Podman 5.4.2; the rest of the runtime knows only Docker's words and shapes (pure).
"""

import ipaddress
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from conductor.plan import labels

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

    def supports(self, version: Mapping[str, Any]) -> bool:
        """Return whether the daemon of a response to `/version` has what is required."""
        return api_numbers(version.get("ApiVersion", "0.0")) >= api_numbers(API)

    def wait_path(self, container: str) -> str:
        """Return the path of the request that waits for a container's exit. Docker has to be asked before the start."""
        return f"/containers/{container}/wait?condition=next-exit"

    def exit_code(self, body: bytes) -> int:
        """Return the exit code in the response to that request. Raise `ValueError`, `KeyError` or `TypeError` for any other body."""
        return int(json.loads(body)["StatusCode"])

    def reference(self, name: str) -> str:
        """Return the name of an image as a definition writes it."""
        return name

    def image(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return an image, listed or inspected, in Docker's shape."""
        return found

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row of the list of containers in Docker's shape."""
        return row

    def container(self, found: dict[str, Any]) -> dict[str, Any]:
        """Return an inspected container in Docker's shape."""
        return found

    def network(self, found: dict[str, Any], _get: Callable[[str], Any]) -> dict[str, Any]:
        """Return a listed network in Docker's shape. `get` makes one more request."""
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

    def supports(self, version: Mapping[str, Any]) -> bool:
        """Earlier versions have the same API, but were not tested."""
        return super().supports(version) and api_numbers(version["Version"].partition("-")[0]) >= (5,)

    def wait_path(self, container: str) -> str:
        """It keeps the exit code, even for some time after the removal. Its `next-exit` may miss an exit."""
        return f"{LIBPOD}/containers/{container}/wait"

    def exit_code(self, body: bytes) -> int:
        """The response is a number."""
        return int(body)

    def reference(self, name: str) -> str:
        """Podman adds a registry to a name without one."""
        return next((name.removeprefix(one) for one in _REGISTRIES if name.startswith(one)), name)

    def image(self, found: dict[str, Any]) -> dict[str, Any]:
        """The names differ, and the id of the parent has no prefix."""
        names = {key: [self.reference(name) for name in found.get(key) or ()] for key in ("RepoTags", "RepoDigests")}
        parent = found.get("ParentId") or found.get("Parent") or ""
        return {**found, **names, "ParentId": f"sha256:{parent.removeprefix('sha256:')}" if parent else ""}

    def row(self, row: dict[str, Any]) -> dict[str, Any]:
        """Only the states differ."""
        return {**row, "State": _STATES.get(row["State"], row["State"])}

    def container(self, found: dict[str, Any]) -> dict[str, Any]:
        """A container that does not run has no address. The network is the one of its label: `NetworkMode` does not name it."""
        state, settings = dict(found["State"]), dict(found["NetworkSettings"])
        state["Running"] = state["Status"] in _RUNNING
        state["ExitCode"] = state["ExitCode"] or self._start_error(state)
        state["Status"] = _STATES.get(state["Status"], state["Status"])
        if not state["Running"]:
            settings["Networks"] = {name: {**one, "IPAddress": ""} for name, one in settings["Networks"].items()}
            settings["Ports"] = {}
        ip = (found["Config"].get("Labels") or {}).get(labels.ADDRESS, "").partition(":")[0]
        mode = next((name for name, one in settings["Networks"].items() if ip and one["IPAddress"] == ip), "")
        host = {**found["HostConfig"], "NetworkMode": mode}
        return {**found, "State": state, "NetworkSettings": settings, "HostConfig": host}

    def _start_error(self, state: Mapping[str, Any]) -> int:
        """Return the exit code of a command that could not be started, else 0."""
        end = str(state.get("Error", "")).rpartition(": ")[2]
        return _START_ERRORS.get(end, 0) if state["Status"] == "created" else 0

    def network(self, found: dict[str, Any], get: Callable[[str], Any]) -> dict[str, Any]:
        """The compatible API leaves out the range of addresses."""
        subnets = get(f"{LIBPOD}/networks/{found['Name']}/json")["subnets"]
        pools = [{"Subnet": one["subnet"], "IPRange": _range(one.get("lease_range"))} for one in subnets]
        return {**found, "IPAM": {"Config": pools}}


def _range(lease: Mapping[str, str] | None) -> str | None:
    """Return the network of a range of leases, which leaves out the first address of the network."""
    if not lease:
        return None
    first, last = (ipaddress.IPv4Address(lease[name]) for name in ("start_ip", "end_ip"))
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
