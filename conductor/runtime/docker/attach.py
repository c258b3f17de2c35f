"""What tasks need from the daemon: streams, exit codes and signals."""

import contextlib
import json
import math
import socket
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

from conductor.errors import ConductorError
from conductor.http import Connection
from conductor.plan import labels
from conductor.plan.container_spec import ContainerSpec
from conductor.plan.release import Image
from conductor.plan.replica import Containers, TaskContainer
from conductor.runtime.docker.api import DEADLINE_SECONDS, EngineApi, NotFoundError, error_message
from conductor.runtime.docker.create_request import connect_request, create_request
from conductor.runtime.docker.dialect import NOT_EXECUTABLE, NOT_FOUND
from conductor.runtime.docker.responses import container_state, containers, image
from conductor.runtime.docker.shapes import (
    InspectedContainer,
    InspectedImage,
    ListedContainer,
    ListedImage,
    PodmanNetwork,
    WithId,
)
from conductor.runtime.port import LogUnreadable, RuntimeUnavailable

START_SECONDS = 600.0  # a host that starts a hundred containers at once is slow
NOT_IMPLEMENTED = 501  # the answer for a logging driver that cannot read logs
NOT_RUN = 125  # the exit code of Docker
UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}


class MissingImageError(ConductorError):
    """The container was not created: the daemon does not find something that it needs, usually the image."""


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
    """The exit of one container, which may be in the future. `begin` requests it when no `connection` waits for it already."""

    def __init__(
        self, begin: Callable[[], Connection], exit_code: Callable[[bytes], int], connection: Connection | None
    ) -> None:
        self._begin = begin
        self._exit_code = exit_code
        self._connection = connection

    def code(self) -> int:
        """Block until the container has exited, and return its exit code. Call it after the start."""
        self._connection = self._connection or self._begin()
        try:
            with self._connection:
                return self._exit_code(self._connection.body())
        except (OSError, ValueError) as error:
            raise ConductorError(
                "cannot read the task's exit code: the connection to Docker was lost",
                "check whether the task is still running: docker ps",
            ) from error

    def close(self) -> None:
        """Stop waiting."""
        if self._connection is not None:
            self._connection.close()


class TaskRuntime:
    """The containers of one instance on the daemon at `base_url`. Every failure is a `ConductorError`."""

    def __init__(self, base_url: str, instance: str) -> None:
        self.api = EngineApi(base_url)
        self._instance = instance

    def ping(self, seconds: float = DEADLINE_SECONDS) -> None:
        """Negotiate the version of the API. Raise `RuntimeUnavailable` when the daemon does not respond within `seconds`."""
        self.api.negotiate("reach Docker", seconds)

    def tags(self, image: str, seconds: float) -> tuple[str, ...]:
        """Return the tags of an image (a repository's name) on this host, the newest first, within `seconds`."""
        path = f"/images/json?filters={quote(json.dumps({'reference': [image]}))}"
        listed = self.api.read("GET", path, "list images", list[ListedImage], seconds=seconds)
        found = sorted(listed, key=lambda one: -one.created)
        names = (name.rpartition(":") for one in found for name in self.api.dialect.image(one).repo_tags or ())
        return tuple(tag for repository, _, tag in names if repository == self.api.dialect.reference(image))

    def has_network(self, name: str) -> bool:
        """Return whether a network exists."""
        return self.api.find(f"/networks/{quote(name, safe='')}", f"inspect network {name}", WithId) is not None

    def create(self, spec: ContainerSpec) -> str:
        """Return the id of a new container. Raise `MissingImageError` when its image was removed."""
        path = f"/containers/create?name={quote(spec.name, safe='')}"
        try:
            made = self.api.read("POST", path, f"create container {spec.name}", WithId, body=create_request(spec))
        except NotFoundError as error:
            raise MissingImageError(error.sentence) from error
        container = made.id
        for one in spec.joined:
            path, action = f"/networks/{quote(one.name, safe='')}/connect", f"connect {spec.name} to network {one.name}"
            self.api.call("POST", path, action, body=connect_request(one, container))
        return container

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
            for found in self._labelled({labels.CHANGE: spec.labels[labels.CHANGE]}):
                self.remove(found.id)

    def attach(self, container: str, command: str = "the command") -> socket.socket:
        """Return a stream with the container's output and input. Call it before the start, or the first bytes are missing.

        Without a terminal the output consists of frames: stream (1 byte, 2 is stderr), 3 zeros, size (4 bytes), data. Raise
        `NotStartedError` when the daemon already finds that `command` cannot be started.
        """
        connection = self.api.connect("attach to the task")
        path = f"/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1"
        try:
            self.api.request(connection, "POST", path, "attach to the task", headers=UPGRADE)
        except RuntimeUnavailable:
            raise
        except ConductorError:
            if self.api.dialect.prepares_at_attach:
                self.start(container, command)
            raise
        connection.end_deadline()
        return connection.socket

    def wait(self, container: str) -> "PendingExit":
        """Begin to wait for the container's exit. Call it before the start: after it, the container may have exited already."""
        dialect = self.api.dialect

        def begin() -> Connection:
            connection = self.api.connect("wait for the task")
            if not dialect.waits_before_start:  # its response begins with the exit
                connection.end_deadline()
            self.api.request(connection, "POST", dialect.wait_path(container), "wait for the task")
            connection.end_deadline()
            return connection

        return PendingExit(begin, dialect.exit_code, begin() if dialect.waits_before_start else None)

    def start(self, container: str, command: str) -> None:
        """Start the container of `command`. `NotStartedError` carries the exit code. If the request fails
        but the container was started, the start succeeded."""
        action = f"run {command}"
        try:
            self.api.call("POST", f"/containers/{container}/start", action, seconds=START_SECONDS)
        except ConductorError as error:
            found = self.api.read("GET", f"/containers/{container}/json", action, InspectedContainer)
            state = self.api.dialect.container(found).state
            if state.status != "created":
                return
            code = state.exit_code
            raise NotStartedError(error.sentence, code if code in {NOT_EXECUTABLE, NOT_FOUND} else NOT_RUN) from error

    def log_file(self, container: str) -> str:
        """Return the path of the file in which Podman keeps a container's log, empty for a container that does not exist.

        Raise `LogUnreadable` when this host has no such file.
        """
        action = f"read the log of container {container[:12]}"
        found = self.api.find(f"/containers/{container}/json", action, InspectedContainer)
        if found is None:
            return ""
        if not (path := found.log_path or "") or not self.api.base_url.startswith("unix://"):
            raise LogUnreadable(
                f"cannot {action}: {self.api.dialect.product} does not keep it in a file on this host",
                "set the service's logging driver to json-file",
            )
        return path

    def runs(self, container: str) -> bool:
        """Return whether a container runs."""
        found = self._inspect(container)
        return found is not None and found.state.running

    def start_delay(self, container: str) -> float:
        """Return how many seconds after its creation a container was started."""
        found = self._inspect(container)
        return container_state(found).start_delay if found else 0.0

    def _inspect(self, container: str) -> InspectedContainer | None:
        action = f"inspect container {container[:12]}"
        found = self.api.find(f"/containers/{container}/json", action, InspectedContainer)
        return self.api.dialect.container(found) if found else None

    def ran_seconds(self, container: str) -> float | None:
        """Return how many seconds a container has run, by the kernel of this host; None if that is unknown."""
        from conductor.runtime.docker import kernel  # imported here because few tasks need it

        usage = kernel.usage(container, 0.0) if self.api.base_url.startswith("unix://") else None
        return None if usage is None or usage.started is None else -usage.started

    def podman_network(self, path: str) -> PodmanNetwork:
        """Return a network of Podman's own API."""
        return self.api.read("GET", path, f"request {path}", PodmanNetwork)

    def open_log(self, container: str, query: str, kind: str = "containers") -> Connection | None:
        """Return the connection on which the container's log arrives, or None for a container that does not exist (404) or is
        being removed (409). `kind` is `tasks` for the id of a task of Swarm's."""
        action = f"read the log of container {container[:12]}"
        connection = self.api.connect(action)
        path = f"/{kind}/{container}/logs?stdout=1&stderr=1&{query}"
        refusal = self.api.request(connection, "GET", path, action, tolerated={404, 409, NOT_IMPLEMENTED})
        if connection.status < 400:
            return connection
        connection.close()
        if connection.status == NOT_IMPLEMENTED:
            raise LogUnreadable(f"cannot {action}: {error_message(refusal)}", "change the service's logging driver")
        return None

    def resize(self, container: str, rows: int, columns: int) -> None:
        """Set the size of its terminal. A container that does not run has none, which is no error."""
        path = f"/containers/{container}/resize?h={rows}&w={columns}"
        self.api.call("POST", path, "resize the task's terminal", tolerated={400, 404, 409, 500})

    def kill(self, container: str, signal: str) -> None:
        """Send a signal to its first process. A container that has exited is no error."""
        path = f"/containers/{container}/kill?signal={signal}"
        self.api.call("POST", path, "send a signal to the task", tolerated={404, 409, 500})

    def stop(self, container: str, grace_seconds: float) -> None:
        """Stop it, with SIGKILL after the grace period. A container that has exited is no error."""
        path, seconds = f"/containers/{container}/stop?t={math.ceil(grace_seconds)}", grace_seconds + DEADLINE_SECONDS
        self.api.call("POST", path, "stop the task", tolerated={404}, seconds=seconds)

    def remove(self, container: str) -> None:
        """Remove it, also while it runs. A missing container is no error."""
        if self.api.dialect.removal_waits:
            self.kill(container, "SIGKILL")
        path = f"/containers/{container}?force=1&v=1"
        self.api.call("DELETE", path, "remove the task's container", tolerated={404, 409})

    def unfinished(self, service: str, job: str) -> tuple[TaskContainer, ...]:
        """Return the containers of a cron job that run, or were created and have not been started."""
        found = containers(self._labelled({labels.SERVICE: service, labels.JOB: job})).tasks
        return tuple(task for task in found if task.state in {"created", "running", "paused"})

    def containers(self, service: str | None = None) -> Containers:
        """Return all containers of this instance, or of one service, in any state."""
        return containers(self._labelled({labels.SERVICE: service} if service else {}))

    def image(self, reference: str) -> Image | None:
        """Return the local image, or None."""
        path = f"/images/{quote(reference, safe='')}/json"
        found = self.api.find(path, f"inspect image {reference}", InspectedImage)
        return image(self.api.dialect.image(found), reference) if found else None

    def _labelled(self, wanted: Mapping[str, str]) -> list[ListedContainer]:
        exact = [f"{name}={value}" for name, value in {labels.INSTANCE: self._instance, **wanted}.items()]
        filters = quote(json.dumps({"label": exact}))
        path = f"/containers/json?all=1&filters={filters}"
        found = self.api.read("GET", path, "list containers", list[ListedContainer])
        return [self.api.dialect.row(row) for row in found]
