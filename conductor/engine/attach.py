"""The door to the daemon for tasks: their streams, exit codes and signals, by the standard library.

`conductor run` is called by cron every minute, and the SDK's import alone costs 90 ms; what is asked for here is the
Engine API (v1.41) over one connection a call. Everything else goes through `docker.py`.
"""

import http.client
import json
import socket
from collections.abc import Callable, Collection, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from conductor.engine.creation import creation
from conductor.errors import ConductorError
from conductor.plan.spec import LABEL, ContainerSpec

DEADLINE_SECONDS = 60.0  # of one call; streams have none
_RUNTIME_WORDS = "unable to start container process: "


class NotStartedError(ConductorError):
    """The container could not be started; `code` is what a shell would say: 126 not executable, 127 not found, else 125."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self._code = code

    @property
    def code(self) -> int:
        """125, 126 or 127."""
        return self._code


class DaemonGoneError(ConductorError):
    """Nobody answers at the daemon's address."""


class TaskDaemon:
    """One daemon at `base_url` (`unix://PATH` or `tcp://HOST:PORT`). Errors are `ConductorError`s with a sentence."""

    def __init__(self, base_url: str, instance: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"unix", "tcp", "http"}:
            raise ConductorError(
                f"cannot run tasks over {base_url}", "host.docker must be unix:// or tcp:// for conductor run"
            )
        self._base_url = base_url
        self._unix = parts.path if parts.scheme == "unix" else None
        self._host = (parts.hostname or "localhost", parts.port or 2375)
        self._instance = instance

    def ping(self) -> None:
        """Whether anybody answers."""
        self._call("GET", "/_ping")

    def create(self, spec: ContainerSpec) -> str:
        """The id of a new container."""
        made = self._call("POST", f"/containers/create?name={quote(spec.name)}", creation(spec))
        return str(made["Id"])

    def attach(self, container: str) -> socket.socket:
        """Both its output streams and its input, from its first byte on: to be called before it is started.

        Without a terminal the output comes in frames: stream (1 byte, 2 is stderr), 3 zeros, size (4 bytes), data.
        """
        connection = self._connect()
        query = "stream=1&stdin=1&stdout=1&stderr=1"
        headers = {"Connection": "Upgrade", "Upgrade": "tcp"}
        self._answer(connection, "POST", f"/containers/{container}/attach?{query}", None, headers)
        stream: socket.socket = connection.sock
        stream.settimeout(None)
        return stream

    def wait(self, container: str) -> Callable[[], int]:
        """Begin to wait for its end, to be called before it is started: a call later could miss it. The answer blocks until
        then, and is its exit code."""
        connection = self._connect()
        answer = self._answer(connection, "POST", f"/containers/{container}/wait?condition=next-exit")
        connection.sock.settimeout(None)

        def code() -> int:
            try:
                return int(json.loads(answer.read())["StatusCode"])
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                raise ConductorError("cannot see how the task ended: the connection to Docker broke") from error

        return code

    def start(self, container: str) -> None:
        """`NotStartedError` says whether it is the command's fault."""
        try:
            self._call("POST", f"/containers/{container}/start")
        except DaemonGoneError:
            raise
        except ConductorError as error:
            found = self._call("GET", f"/containers/{container}/json")
            code = int(found["State"]["ExitCode"])
            raise NotStartedError(error.sentence, code if code in {126, 127} else 125) from error

    def resize(self, container: str, rows: int, columns: int) -> None:
        """Give its terminal another size; a container that does not run (yet) has none, which is no error."""
        self._call("POST", f"/containers/{container}/resize?h={rows}&w={columns}", tolerated={404, 409, 500})

    def kill(self, container: str, signal: str) -> None:
        """Send a signal to its first process; one that has ended gets none."""
        self._call("POST", f"/containers/{container}/kill?signal={signal}", tolerated={404, 409, 500})

    def remove(self, container: str) -> None:
        """Remove it, running or not; already gone is fine."""
        self._call("DELETE", f"/containers/{container}?force=1&v=1", tolerated={404, 409})

    def running(self, service: str, job: str) -> tuple[str, ...]:
        """Names of the running containers of a cron job."""
        labels = [f"{LABEL}instance={self._instance}", f"{LABEL}service={service}", f"{LABEL}job={job}"]
        filters = quote(json.dumps({"label": labels, "status": ["created", "running", "paused"]}))
        found = self._call("GET", f"/containers/json?all=1&filters={filters}")
        return tuple(one["Names"][0].lstrip("/") for one in found)

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        tolerated: Collection[int] = (),
    ) -> Any:
        """One request on a connection of its own; its answer, read as JSON."""
        connection = self._connect()
        try:
            answer = self._answer(connection, method, path, body, tolerated=tolerated)
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise ConductorError("cannot go on: the connection to Docker broke", "is Docker running?") from error
        finally:
            connection.close()
        return json.loads(data) if data.startswith((b"{", b"[")) else None

    def _answer(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        tolerated: Collection[int] = (),
    ) -> http.client.HTTPResponse:
        """The head of the answer has come; a status of 400 and above is an error with the daemon's words."""
        text = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, text, {"Content-Type": "application/json", **(headers or {})})
            answer = connection.getresponse()
            if answer.status >= 400 and answer.status not in tolerated:
                said = json.loads(answer.read() or b"{}").get("message", "")
                raise ConductorError(said.rpartition(_RUNTIME_WORDS)[2].strip().removesuffix(": unknown"))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ConductorError("cannot go on: the connection to Docker broke", "is Docker running?") from error
        return answer

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._host
        connection = http.client.HTTPConnection(host, port)
        try:
            if self._unix is None:
                connection.sock = socket.create_connection((host, port), DEADLINE_SECONDS)
            else:
                connection.sock = socket.socket(socket.AF_UNIX)
                connection.sock.settimeout(DEADLINE_SECONDS)
                connection.sock.connect(self._unix)
        except PermissionError as error:
            raise ConductorError(
                f"cannot reach Docker at {self._base_url}: permission denied",
                "run as root or as a member of the group docker",
            ) from error
        except OSError as error:
            raise DaemonGoneError(
                f"cannot reach Docker at {self._base_url}: {error.strerror or error}",
                "start it (systemctl start docker)",
            ) from error
        return connection
