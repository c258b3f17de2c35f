"""What tasks need from the daemon: streams, exit codes and signals, over Conductor's own HTTP client.

Cron calls `conductor run` every minute, and the SDK's import alone takes 90 ms. Every call is one connection to the Engine
API, v1.41.
"""

import contextlib
import errno
import json
import socket
from collections.abc import Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from conductor.errors import ConductorError
from conductor.http import Connection, InvalidResponse
from conductor.plan import labels
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.replica import TaskContainer
from conductor.runtime.docker.create_request import create_request
from conductor.runtime.docker.responses import containers, message
from conductor.runtime.port import RuntimeUnavailable

DEADLINE_SECONDS = 60.0  # of one call; streams have none
START_SECONDS = 600.0  # a host that starts a hundred containers at once is slow
NOT_EXECUTABLE, NOT_FOUND, NOT_RUN = 126, 127, 125  # exit codes, as a shell's and Docker's


class NotStartedError(ConductorError):
    """The container could not be started."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self._code = code

    @property
    def code(self) -> int:
        """126 when the command is not executable, 127 when it does not exist, else 125."""
        return self._code


class PendingExit:
    """The exit of one container, which may be in the future."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def code(self) -> int:
        """Block until the container has exited, and return its exit code."""
        try:
            with self._connection:
                return int(json.loads(self._connection.body())["StatusCode"])
        except (OSError, ValueError, KeyError) as error:
            raise ConductorError(
                "cannot read the task's exit code: the connection to Docker broke",
                "check whether the task is still running: docker ps",
            ) from error

    def close(self) -> None:
        """Stop waiting."""
        self._connection.close()


class TaskRuntime:
    """One daemon at `base_url` (`unix://PATH` or `tcp://HOST:PORT`). Every failure is a `ConductorError`."""

    def __init__(self, base_url: str, instance: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"unix", "tcp", "http"}:
            raise ConductorError(
                f"cannot run tasks over {base_url}: only unix:// and tcp:// are supported",
                "change host.docker in the definitions file",
            )
        self._base_url = base_url
        self._address = parts.path if parts.scheme == "unix" else (parts.hostname or "localhost", parts.port or 2375)
        self._instance = instance

    def ping(self) -> None:
        """Raise `RuntimeUnavailable` when the daemon does not answer."""
        self._call("GET", "/_ping", "reach Docker")

    def has_image(self, image_id: str) -> bool:
        """Return whether an image is on this host."""
        return self._exists(f"/images/{quote(image_id, safe='')}/json", f"inspect image {image_id}")

    def has_network(self, name: str) -> bool:
        """Return whether a network exists."""
        return self._exists(f"/networks/{quote(name, safe='')}", f"inspect network {name}")

    def _exists(self, path: str, action: str) -> bool:
        return "Id" in (self._call("GET", path, action, tolerated={404}) or {})

    def create(self, spec: ContainerSpec) -> str:
        """Return the id of a new container."""
        path = f"/containers/create?name={quote(spec.name, safe='')}"
        return str(self._call("POST", path, f"create container {spec.name}", create_request(spec))["Id"])

    @contextlib.contextmanager
    def starting(self, spec: ContainerSpec) -> Iterator[str]:
        """Create a container and pass its id to the block; remove it when the block ends with an error."""
        with contextlib.ExitStack() as undo:
            undo.callback(self._discard, spec)
            yield self.create(spec)
            undo.pop_all()

    def _discard(self, spec: ContainerSpec) -> None:
        """Find the container by its label: a failed creation may have succeeded, and another container may have its name."""
        with contextlib.suppress(ConductorError):
            for found in self._labelled({labels.CHANGE: spec.labels[labels.CHANGE]}, ()):
                self.remove(found["Id"])

    def attach(self, container: str) -> socket.socket:
        """Return a stream with the container's output and input. Call it before the start, or the first bytes are missing.

        Without a terminal the output consists of frames: stream (1 byte, 2 is stderr), 3 zeros, size (4 bytes), data.
        """
        connection = self._connect()
        path = f"/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1"
        self._request(connection, "POST", path, "attach to the task", upgrade=True)
        connection.end_deadline()
        return connection.socket

    def wait(self, container: str) -> "PendingExit":
        """Begin to wait for the container's exit. Call it before the start: after it, the container may have exited already."""
        connection = self._connect()
        self._request(connection, "POST", f"/containers/{container}/wait?condition=next-exit", "wait for the task")
        connection.end_deadline()
        return PendingExit(connection)

    def start(self, container: str, command: str) -> None:
        """Start the container of `command`. `NotStartedError` carries the exit code. If the request fails
        but the container was started, the start succeeded."""
        action = f"run {command}"
        try:
            self._call("POST", f"/containers/{container}/start", action, seconds=START_SECONDS)
        except ConductorError as error:
            state = self._call("GET", f"/containers/{container}/json", action)["State"]
            if state["Status"] != "created":
                return
            code = int(state["ExitCode"])
            raise NotStartedError(error.sentence, code if code in {NOT_EXECUTABLE, NOT_FOUND} else NOT_RUN) from error

    def resize(self, container: str, rows: int, columns: int) -> None:
        """Set the size of its terminal. A container that does not run has none, which is no error."""
        path = f"/containers/{container}/resize?h={rows}&w={columns}"
        self._call("POST", path, "resize the task's terminal", tolerated={400, 404, 409, 500})

    def kill(self, container: str, signal: str) -> None:
        """Send a signal to its first process. A container that has exited is no error."""
        path = f"/containers/{container}/kill?signal={signal}"
        self._call("POST", path, "send a signal to the task", tolerated={404, 409, 500})

    def remove(self, container: str) -> None:
        """Remove it, also while it runs. A missing container is no error."""
        path = f"/containers/{container}?force=1&v=1"
        self._call("DELETE", path, "remove the task's container", tolerated={404, 409})

    def unfinished(self, service: str, job: str) -> tuple[TaskContainer, ...]:
        """Return the containers of a cron job that run, or were created and have not been started."""
        found = self._labelled({labels.SERVICE: service, labels.JOB: job}, ("created", "running", "paused"))
        return containers(found).tasks

    def _labelled(self, wanted: Mapping[str, str], states: Collection[str]) -> list[dict[str, Any]]:
        exact = [f"{name}={value}" for name, value in {labels.INSTANCE: self._instance, **wanted}.items()]
        filters = quote(json.dumps({"label": exact, **({"status": states} if states else {})}))
        found: list[dict[str, Any]] = self._call("GET", f"/containers/json?all=1&filters={filters}", "list containers")
        return found

    def _call(
        self,
        method: str,
        path: str,
        action: str,
        body: Mapping[str, Any] | None = None,
        *,
        tolerated: Collection[int] = (),
        seconds: float = DEADLINE_SECONDS,
    ) -> Any:
        """Make one request on its own connection; return the JSON of the response. Errors begin with "cannot ACTION"."""
        with self._connect(seconds) as connection:
            data = self._request(connection, method, path, action, body, tolerated=tolerated, read=True)
            return json.loads(data) if data.startswith((b"{", b"[")) else None

    def _request(
        self,
        connection: Connection,
        method: str,
        path: str,
        action: str,
        body: Mapping[str, Any] | None = None,
        *,
        tolerated: Collection[int] = (),
        upgrade: bool = False,
        read: bool = False,
    ) -> bytes:
        """Return when the headers of the response have arrived, and with `read` its body. A status from 400 is an error, which
        closes the connection."""
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"Host": "docker", "Content-Length": str(len(content))}
        headers |= {"Content-Type": "application/json"} if body is not None else {}
        headers |= {"Connection": "Upgrade", "Upgrade": "tcp"} if upgrade else {}
        try:
            status = connection.request(method, path, headers, content)
            data = connection.body() if read or status >= 400 else b""
        except (OSError, InvalidResponse) as error:
            connection.close()
            cause = (
                "Docker did not answer in time" if isinstance(error, TimeoutError) else "the connection to Docker broke"
            )
            raise RuntimeUnavailable(f"cannot {action}: {cause}", "check it with systemctl status docker") from error
        if status >= 400 and status not in tolerated:
            connection.close()
            raise ConductorError(f"cannot {action}: {_error(data) or f'Docker answered {status}'}")
        return data

    def _connect(self, seconds: float = DEADLINE_SECONDS) -> Connection:
        try:
            return Connection(self._address, seconds)
        except OSError as error:
            raise unreachable(self._base_url, error) from error


def unreachable(base_url: str, error: OSError) -> ConductorError:
    """Return the error for a daemon to which no connection could be made. Missing permission is not `RuntimeUnavailable`."""
    cannot = f"cannot reach Docker at {base_url}"
    if isinstance(error, PermissionError):
        return ConductorError(f"{cannot}: permission denied", "run as root or as a member of the group docker")
    if error.errno in {errno.ENOENT, errno.ECONNREFUSED}:
        return RuntimeUnavailable(f"{cannot}: Docker is not running", "start it with systemctl start docker")
    return RuntimeUnavailable(f"{cannot}: {error.strerror or error}", "check it with systemctl status docker")


def _error(data: bytes) -> str:
    """Return the daemon's error message, or an empty string when the body has none."""
    try:
        return message(str(json.loads(data)["message"]))
    except (ValueError, KeyError, TypeError):
        return ""
