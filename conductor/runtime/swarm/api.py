"""Swarm's part of the Engine API (v1.41) on one manager, as JSON: services, their tasks, nodes and configs."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, Unpack
from urllib.parse import quote

from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.runtime.docker.api import Details, EngineApi
from conductor.runtime.docker.shapes import MalformedResponse, Shape, read
from conductor.runtime.port import NotManager, RuntimeUnavailable
from conductor.runtime.swarm import shapes

T = TypeVar("T")
CALL_SECONDS = 3.0  # of one request: a manager without a leader answers none
TOTAL_SECONDS = 60.0  # of one call: the election of another leader took up to 20 s
RETRY_SECONDS = 0.2
CONFLICT, NOT_FOUND, SERVER_ERROR, UNAVAILABLE = 409, 404, 500, 503
# Constants of Swarm's source, which have no codes of their own: a write that names an old version; a manager without a leader, a
# leader that is one no more, and one that the manager which was asked cannot reach; a host that is no manager.
_OUT_OF_SEQUENCE: Final = "update out of sequence"
_NO_LEADER: Final = (
    "swarm does not have a leader", "no elected cluster leader", "node lost leader status", "node is stopped",
    "rpc error: code = Unavailable",
)  # fmt: skip
_NO_MANAGER: Final = "not a swarm manager"
NEEDS_MANAGER: Final = (
    "host.fleet needs a manager of a Docker Swarm: run docker swarm init, or docker swarm join with a manager's token; Docker "
    "refuses both while live-restore is on in /etc/docker/daemon.json"
)


class SwarmApi:
    """Every failure is a `ConductorError` that begins with "cannot ACTION"."""

    def __init__(self, engine: EngineApi, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock

    def services(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the services with all of these labels."""
        return self._list("services", {"label": [f"{name}={value}" for name, value in labels.items()]}, shapes.Service)

    def service(self, service: str) -> dict[str, Any] | None:
        """Return a service, by its id or its name."""
        return self._find(f"/services/{quote(service)}", f"inspect service {service}", shapes.Service)

    def tasks(self) -> list[dict[str, Any]]:
        """Return the tasks of all services."""
        return self._list("tasks", {}, shapes.Task)

    def tasks_of(self, service: str) -> list[dict[str, Any]] | None:
        """Return the tasks of a service; None when it is gone."""
        path, action = f"/tasks?filters={quote(json.dumps({'service': [service]}))}", f"list the tasks of {service}"
        status, found = self._call("GET", path, action, missing=True)
        if status == NOT_FOUND:
            return None
        self._checked(found, action, list[shapes.Task])
        return list(found)

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Return the nodes by their ids."""
        return {one["ID"]: one for one in self._list("nodes", {}, shapes.Node)}

    def usable_nodes(self) -> int:
        """Return how many nodes can run a task. After an election, the state of all nodes is `unknown` for a moment."""
        found = self.nodes().values()
        return sum(one["Status"]["State"] != "down" and one["Spec"]["Availability"] == "active" for one in found)

    def node_id(self) -> str:
        """Return the id of the node whose daemon answers."""
        action = "read Docker's settings"
        return self._checked(self._call("GET", "/info", action)[1], action, shapes.Info).swarm.node_id

    def create_service(self, body: Mapping[str, Any], auth: Mapping[str, str]) -> str | None:
        """Return the id of a new service; None when its name is in use, perhaps by an earlier, unclear request."""
        headers = {"X-Registry-Auth": base64.urlsafe_b64encode(json.dumps(auth).encode()).decode()} if auth else {}
        action = f"create service {body['Name']}"
        status, made = self._call("POST", "/services/create", action, body=body, tolerated={CONFLICT}, headers=headers)
        return None if status == CONFLICT else self._checked(made, action, shapes.Made).id

    def update_service(self, service: str, action: str, change: Callable[[dict[str, Any]], None]) -> None:
        """Apply `change` to the service's specification. Swarm itself may write to a service just after its creation: read the
        service again, and repeat the change."""
        while True:
            found = self.service(service)
            if found is None:
                raise ConductorError(f"cannot {action}: no such service")
            change(found["Spec"])
            path = f"/services/{service}/update?version={found['Version']['Index']}"
            status, answer = self._call("POST", path, action, body=found["Spec"], tolerated={SERVER_ERROR})
            if status != SERVER_ERROR:
                return
            if _OUT_OF_SEQUENCE not in (text := _message(answer)):
                raise ConductorError(f"cannot {action}: {text}")

    def remove_service(self, service: str) -> None:
        """Remove a service. A missing one is no error."""
        self._call("DELETE", f"/services/{quote(service)}", f"remove service {service}", missing=True)

    def configs(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the configs with all of these labels."""
        return self._list("configs", {"label": [f"{name}={value}" for name, value in labels.items()]}, shapes.Config)

    def config(self, name: str) -> dict[str, Any] | None:
        """Return a config by its name."""
        return self._find(f"/configs/{quote(name)}", f"read config {name}", shapes.Config)

    def create_config(self, spec: Mapping[str, Any]) -> bool:
        """Return False when the name is in use, perhaps by an earlier, unclear request."""
        action = f"create config {spec['Name']}"
        return self._call("POST", "/configs/create", action, body=spec, tolerated={CONFLICT})[0] != CONFLICT

    def update_config(self, config: str, version: int, spec: Mapping[str, Any]) -> bool:
        """Replace the labels of a config; return False when it has another version or is gone."""
        path, action = f"/configs/{config}/update?version={version}", f"write config {spec['Name']}"
        status, answer = self._call("POST", path, action, body=spec, tolerated={SERVER_ERROR}, missing=True)
        if status == SERVER_ERROR and _OUT_OF_SEQUENCE not in (text := _message(answer)):
            raise ConductorError(f"cannot {action}: {text}")
        return status not in {SERVER_ERROR, NOT_FOUND}

    def remove_config(self, name: str) -> None:
        """Remove a config. A missing one is no error."""
        self._call("DELETE", f"/configs/{quote(name)}", f"remove config {name}", missing=True)

    def _list(self, what: str, filters: Mapping[str, Any], shape: type[Shape]) -> list[dict[str, Any]]:
        path = f"/{what}" + (f"?filters={quote(json.dumps(filters))}" if filters else "")
        found = self._call("GET", path, f"list {what}")[1]
        self._checked(found, f"list {what}", list[shape])  # type: ignore[valid-type]
        return list(found)

    def _find(self, path: str, action: str, shape: type[Shape]) -> dict[str, Any] | None:
        status, found = self._call("GET", path, action, missing=True)
        if status == NOT_FOUND:
            return None
        self._checked(found, action, shape)
        return dict(found)

    def _checked(self, found: Any, action: str, shape: type[T]) -> T:
        try:
            return read(found, shape)
        except MalformedResponse as error:
            raise error.error(f"cannot {action}", "Docker") from error

    def _call(
        self, method: str, path: str, action: str, *, missing: bool = False, **details: Unpack[Details]
    ) -> tuple[int, Any]:
        """Make a request again while it is not answered in time, or the swarm has no leader; at most for `TOTAL_SECONDS`.

        That is harmless: a creation that succeeded is found by its name, and an update names the version that it replaces.
        """
        tolerated = details.get("tolerated", ())
        details["tolerated"] = {*tolerated, SERVER_ERROR, UNAVAILABLE, *([NOT_FOUND] if missing else [])}
        until = self._clock.monotonic() + TOTAL_SECONDS
        while True:
            error: ConductorError | None = None
            try:
                status, answer = self._engine.exchange(method, path, action, seconds=CALL_SECONDS, **details)
            except RuntimeUnavailable as late:
                if not isinstance(late.__cause__, TimeoutError):
                    raise
                error = late
            else:
                text = _message(answer) if status >= SERVER_ERROR else ""
                waits = any(one in text for one in _NO_LEADER)
                if not text or (status in tolerated and not waits):
                    return status, answer
                if _NO_MANAGER in text:
                    raise NotManager(f"cannot {action}: this host is not a manager of a Docker Swarm", NEEDS_MANAGER)
                if not waits:
                    raise ConductorError(f"cannot {action}: {text}")
                error = RuntimeUnavailable(f"cannot {action}: {text}")
            if self._clock.monotonic() >= until:
                raise error
            self._clock.sleep(RETRY_SECONDS)


def _message(answer: Any) -> str:
    return str(answer.get("message", answer)) if isinstance(answer, dict) else str(answer)
