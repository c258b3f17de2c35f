"""Converts services of Swarm's and their tasks into replicas (Engine API, v1.41; pure).

A replica is a service with at most one running task. Swarm restarts a task that exits: the new task waits while the ended
one is listed. It forgets the task of a service that was scaled to 0, so the service's labels keep how the replica ended.
"""

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from conductor.clock import seconds_between
from conductor.json_text import decode
from conductor.plan import labels
from conductor.plan.replica import Containers, ContainerState, Replica, TaskContainer
from conductor.runtime.docker import responses
from conductor.runtime.swarm.create_request import IMAGE, PINNED

Json = Mapping[str, Any]
STARTED: Final = "conductor.started"  # a label of a replica that has been started
ENDED: Final = "conductor.ended"  # its `ContainerState` since it was stopped, or could not be started
EPOCH: Final = "1970-01-01T00:00:00Z"
_WAITING = {"new", "pending", "assigned", "accepted", "preparing", "ready"}
_EXIT_ERROR: Final = (
    "task: non-zero exit ("  # a constant of Docker's source (container/stream); the code is a field as well
)


class Service(NamedTuple):
    """A service with its tasks, the oldest first, and the nodes by their ids."""

    found: Json
    tasks: tuple[Json, ...]
    nodes: Mapping[str, Json]

    @property
    def labels(self) -> Mapping[str, str]:
        """Its labels."""
        return self.found["Spec"].get("Labels") or {}

    @property
    def is_wanted(self) -> bool:
        """True when Swarm keeps it running."""
        return bool(self.found["Spec"]["Mode"]["Replicated"]["Replicas"])

    @property
    def running(self) -> Json | None:
        """Its running task. Of a node that is down it is not known, and counts as not running."""
        found = [one for one in self.tasks if one["Status"]["State"] == "running" and not self.is_lost(one)]
        return found[-1] if found else None

    @property
    def ended(self) -> Json | None:
        """The latest task that ran, or could not be started, and has ended."""
        found = [one for one in self.tasks if has_ended(one)]
        return found[-1] if found else None

    @property
    def lost_nodes(self) -> tuple[str, ...]:
        """The nodes that are down, and on which a task of it may still run."""
        nodes = (self.nodes.get(one["NodeID"], {}) for one in self.tasks if self.is_lost(one) and not has_ended(one))
        return tuple(one.get("Description", {}).get("Hostname", "?") for one in nodes)

    @property
    def grace(self) -> float:
        """How long its tasks have after the stop signal, in seconds."""
        return float(self.found["Spec"]["TaskTemplate"]["ContainerSpec"]["StopGracePeriod"]) / 1e9

    def is_lost(self, task: Json) -> bool:
        """True when the node of a task is down, so that nothing is known about the task."""
        node = self.nodes.get(task.get("NodeID", ""))
        return bool(task.get("NodeID")) and (node is None or node["Status"]["State"] == "down")


def services(found: Iterable[Json], tasks: Iterable[Json], nodes: Mapping[str, Json]) -> list[Service]:
    """Return services with their tasks, sorted by name."""
    of: dict[str, list[Json]] = {}
    for task in sorted(tasks, key=lambda one: str(one["CreatedAt"])):
        of.setdefault(task.get("ServiceID", ""), []).append(task)
    every = [Service(one, tuple(of.get(one["ID"], ())), nodes) for one in found]
    return sorted(every, key=lambda one: str(one.found["Spec"]["Name"]))


def containers(found: Iterable[Service], tasks: tuple[TaskContainer, ...]) -> Containers:
    """Return the replicas of a list of services, beside the tasks of this host."""
    return Containers(tuple(map(replica, found)), tasks)


def replica(service: Service) -> Replica:
    """Return the replica that is a service."""
    label, task = service.labels, service.running
    started = STARTED in label
    node = service.nodes.get(task.get("NodeID", ""), {}) if task else {}
    stopped = "exited" if started else "created"
    waits = "node-down" if service.lost_nodes else "restarting"
    return Replica(
        id=service.found["ID"],
        name=service.found["Spec"]["Name"],
        node=node.get("Description", {}).get("Hostname", label.get(PINNED, "")),
        service=label.get(labels.SERVICE, ""),
        revision=label.get(labels.REVISION, ""),
        release=label.get(labels.RELEASE, ""),
        change=label.get(labels.CHANGE, ""),
        address=_address(service, task) if task else label.get(labels.ADDRESS, ""),
        state="running" if task else waits if service.is_wanted else stopped,
        created=seconds_between(EPOCH, f"{service.found['CreatedAt'][:19]}Z"),
        image_id=label.get(IMAGE, ""),
    )


def state(service: Service) -> ContainerState:
    """Return the state of a replica. One that Swarm is about to restart has exited."""
    if (task := service.running) is not None:
        return ContainerState(running=True, exit_code=None, out_of_memory=False, address=_address(service, task))
    stored = service.labels.get(ENDED)
    if stored and not service.is_wanted:
        with contextlib.suppress(msgspec.DecodeError):  # anybody who can write to Swarm can change a label
            return decode(stored, ContainerState)
    if (task := service.ended) is not None:
        return ended_state(task)
    return ContainerState(running=False, exit_code=None, out_of_memory=False, address="", error=_waits_for(service))


def ended_state(task: Json) -> ContainerState:
    """Return the state of a task that has ended."""
    status = task["Status"]
    error = status.get("Err", "")
    return ContainerState(
        running=False,
        exit_code=int((status.get("ContainerStatus") or {}).get("ExitCode", 0)),
        out_of_memory=False,
        address="",
        error="" if error.startswith(_EXIT_ERROR) else responses.message(error),
        since=status["Timestamp"],
    )


def has_ended(task: Json) -> bool:
    """True when a task ran, or could not be started, and has ended."""
    return task["Status"]["State"] not in {*_WAITING, "starting", "running"}


def is_waiting(task: Json) -> bool:
    """True when the container of a task has not been started."""
    return task["Status"]["State"] in _WAITING


def failed_to_start(task: Json) -> bool:
    """True when a task has ended without having run."""
    status = task["Status"]
    error = status.get("Err", "")
    return has_ended(task) and bool(error) and not error.startswith(_EXIT_ERROR)


def container(task: Json) -> str:
    """Return the id of the container of a task on its node; empty before it is created."""
    return str((task["Status"].get("ContainerStatus") or {}).get("ContainerID", ""))


def _waits_for(service: Service) -> str:
    if service.lost_nodes:
        return f"node {service.lost_nodes[-1]} is down"
    return str(service.tasks[-1]["Status"].get("Err", "")) if service.tasks else ""


def _address(service: Service, task: Json) -> str:
    """Return where a running task is reached; empty for one without a port."""
    node, port = service.nodes.get(task.get("NodeID", ""), {}), service.labels.get(labels.ADDRESS, "")
    return f"{address(node)}{port}" if port else ""


def address(node: Json) -> str:
    """Return the address of a node. Of a manager, `Status` may have another one than the one that it advertises."""
    manager = (node.get("ManagerStatus") or {}).get("Addr", "").rpartition(":")[0]
    return manager or str(node.get("Status", {}).get("Addr", ""))
