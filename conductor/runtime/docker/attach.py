"""The door to the daemon for tasks: their streams, exit codes and signals, by the standard library.

`conductor run` is called by cron every minute, and the SDK's import alone costs 90 ms; what is asked for here is the
Engine API (v1.41) over one connection a call. Everything else goes through `docker.py`.
"""

import contextlib
import json
import socket
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from conductor.errors import ConductorError
from conductor.plan.container_spec import LABEL, ContainerSpec
from conductor.runtime.docker.create_request import create_request
from conductor.runtime.docker.http import Connection

DEADLINE_SECONDS = 60.0  # of one call; streams have none
START_SECONDS = 600.0  # a host that starts a hundred at once takes its time
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


class TaskRuntime:
    """One daemon at `base_url` (`unix://PATH` or `tcp://HOST:PORT`). Errors are `ConductorError`s with a sentence."""

    def __init__(self, base_url: str, instance: str) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in {"unix", "tcp", "http"}:
            raise ConductorError(
                f"cannot run tasks over {base_url}", "host.docker must be unix:// or tcp:// for conductor run"
            )
        self._base_url = base_url
        self._address = parts.path if parts.scheme == "unix" else (parts.hostname or "localhost", parts.port or 2375)
        self._instance = instance

    def ping(self) -> None:
        """Whether anybody answers."""
        self._call("GET", "/_ping", "reach Docker")

    def create(self, spec: ContainerSpec) -> str:
        """The id of a new container."""
        path = f"/containers/create?name={quote(spec.name, safe='')}"
        return str(self._call("POST", path, f"create container {spec.name}", create_request(spec))["Id"])

    @contextlib.contextmanager
    def starting(self, spec: ContainerSpec) -> Iterator[str]:
        """The id of a new container, which is gone again when the block ends with an error: nothing is half started."""
        with contextlib.ExitStack() as undo:
            undo.callback(self._discard, spec)
            yield self.create(spec)
            undo.pop_all()

    def _discard(self, spec: ContainerSpec) -> None:
        """By its label: an error in answer to its creation may mean that it was made, and its name may be somebody else's."""
        label = f"{LABEL}upgrade"
        with contextlib.suppress(ConductorError):
            for found in self._labelled({label: spec.labels[label]}, ()):
                self.remove(found["Id"])

    def attach(self, container: str) -> socket.socket:
        """Both its output streams and its input, from its first byte on: to be called before it is started.

        Without a terminal the output comes in frames: stream (1 byte, 2 is stderr), 3 zeros, size (4 bytes), data.
        """
        connection = self._connect()
        path = f"/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1"
        self._ask(connection, "POST", path, "attach to the task", upgrade=True)
        connection.socket.settimeout(None)
        return connection.socket

    def wait(self, container: str) -> Callable[[], int]:
        """Begin to wait for its end, to be called before it is started: a call later could miss it. The answer blocks until
        then, and is its exit code."""
        connection = self._connect()
        self._ask(connection, "POST", f"/containers/{container}/wait?condition=next-exit", "wait for the task")
        connection.socket.settimeout(None)

        def code() -> int:
            try:
                return int(json.loads(connection.body())["StatusCode"])
            except (OSError, ValueError, KeyError) as error:
                raise ConductorError(
                    "cannot see how the task ended: the connection to Docker broke", "it may still run: see docker ps"
                ) from error

        return code

    def start(self, container: str, command: str) -> None:
        """`NotStartedError` says whether it is the command's fault. An error after which it runs all the same is none."""
        doing = f"run {command}"
        try:
            self._call("POST", f"/containers/{container}/start", doing, seconds=START_SECONDS)
        except DaemonGoneError:
            raise
        except ConductorError as error:
            state = self._call("GET", f"/containers/{container}/json", doing)["State"]
            if state["Status"] != "created":
                return
            code = int(state["ExitCode"])
            raise NotStartedError(error.sentence, code if code in {126, 127} else 125) from error

    def resize(self, container: str, rows: int, columns: int) -> None:
        """Give its terminal another size; a container that does not run (yet) has none, which is no error."""
        path = f"/containers/{container}/resize?h={rows}&w={columns}"
        self._call("POST", path, "resize the task's terminal", tolerated={400, 404, 409, 500})

    def kill(self, container: str, signal: str) -> None:
        """Send a signal to its first process; one that has ended gets none."""
        path = f"/containers/{container}/kill?signal={signal}"
        self._call("POST", path, "send a signal to the task", tolerated={404, 409, 500})

    def remove(self, container: str) -> None:
        """Remove it, running or not; already gone is fine."""
        path = f"/containers/{container}?force=1&v=1"
        self._call("DELETE", path, "remove the task's container", tolerated={404, 409})

    def running(self, service: str, job: str) -> tuple[str, ...]:
        """Names of the running containers of a cron job."""
        found = self._labelled({f"{LABEL}service": service, f"{LABEL}job": job}, ("created", "running", "paused"))
        return tuple(one["Names"][0].lstrip("/") for one in found)

    def _labelled(self, labels: Mapping[str, str], states: Collection[str]) -> list[dict[str, Any]]:
        exact = [f"{name}={value}" for name, value in {f"{LABEL}instance": self._instance, **labels}.items()]
        filters = quote(json.dumps({"label": exact, **({"status": states} if states else {})}))
        found: list[dict[str, Any]] = self._call("GET", f"/containers/json?all=1&filters={filters}", "list containers")
        return found

    def _call(
        self,
        method: str,
        path: str,
        doing: str,
        body: Mapping[str, Any] | None = None,
        *,
        tolerated: Collection[int] = (),
        seconds: float = DEADLINE_SECONDS,
    ) -> Any:
        """One request on a connection of its own; its answer, read as JSON. `doing` is for the sentence of its error."""
        with contextlib.closing(self._connect(seconds)) as connection:
            data = self._ask(connection, method, path, doing, body, tolerated=tolerated, read=True)
            return json.loads(data) if data.startswith((b"{", b"[")) else None

    def _ask(
        self,
        connection: Connection,
        method: str,
        path: str,
        doing: str,
        body: Mapping[str, Any] | None = None,
        *,
        tolerated: Collection[int] = (),
        upgrade: bool = False,
        read: bool = False,
    ) -> bytes:
        """The head of the answer has come, and with `read` its body; a status of 400 and above is an error with the daemon's
        words."""
        try:
            status = connection.ask(method, path, body, upgrade=upgrade)
            data = connection.body() if read or status >= 400 else b""
        except (OSError, ValueError) as error:
            why = "it did not answer in time" if isinstance(error, TimeoutError) else "the connection broke"
            raise ConductorError(f"cannot {doing}: asked Docker, and {why}", "does Docker run?") from error
        if status >= 400 and status not in tolerated:
            raise ConductorError(f"cannot {doing}: {_said(data) or f'Docker answered {status}'}")
        return data

    def _connect(self, seconds: float = DEADLINE_SECONDS) -> Connection:
        try:
            return Connection(self._address, seconds)
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


def _said(data: bytes) -> str:
    """The daemon's words, without those that say through whose hands they went."""
    try:
        words = str(json.loads(data)["message"])
    except (ValueError, KeyError, TypeError):
        return ""
    return words.rpartition(_RUNTIME_WORDS)[2].strip().removesuffix(": unknown")
