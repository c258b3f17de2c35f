"""The shapes of Swarm's responses: the fields that Conductor reads (Engine API, v1.41).

Services and configs are written back with all their fields, so a response is checked against its shape and kept as it is.
"""

import msgspec

from conductor.runtime.docker.shapes import ExitCode, Shape, check_stamps


class Replicated(Shape, frozen=True, kw_only=True):
    """How many tasks a service has."""

    replicas: int


class Mode(Shape, frozen=True, kw_only=True):
    """Conductor's services have a number of tasks."""

    replicated: Replicated


class ContainerSpec(Shape, frozen=True, kw_only=True):
    """The containers of a service."""

    stop_grace_period: int  # nanoseconds
    env: list[str] | None = None


class TaskTemplate(Shape, frozen=True, kw_only=True):
    """The tasks of a service."""

    container_spec: ContainerSpec


class ServiceSpec(Shape, frozen=True, kw_only=True):
    """What a service should be."""

    name: str
    mode: Mode
    task_template: TaskTemplate
    labels: dict[str, str] | None = None


class Version(Shape, frozen=True, kw_only=True):
    """Of what a request replaces."""

    index: int


class Service(Shape, frozen=True, kw_only=True):
    """A service, listed or inspected."""

    id: str = msgspec.field(name="ID")
    created_at: str
    version: Version
    spec: ServiceSpec

    def __post_init__(self) -> None:
        check_stamps(self.created_at)


class ContainerStatus(Shape, frozen=True, kw_only=True):
    """The container of a task."""

    container_id: str = msgspec.field(name="ContainerID", default="")
    exit_code: ExitCode = 0


class TaskStatus(Shape, frozen=True, kw_only=True):
    """How far a task is."""

    state: str
    timestamp: str
    err: str = ""
    container_status: ContainerStatus | None = None

    def __post_init__(self) -> None:
        check_stamps(self.timestamp)


class Task(Shape, frozen=True, kw_only=True):
    """A task. It has no node until it is assigned to one."""

    id: str = msgspec.field(name="ID")
    created_at: str
    updated_at: str = ""
    desired_state: str = ""
    status: TaskStatus
    node_id: str = msgspec.field(name="NodeID", default="")
    service_id: str = msgspec.field(name="ServiceID", default="")  # a container on an attachable network has none

    def __post_init__(self) -> None:
        check_stamps(self.updated_at)


class Description(Shape, frozen=True, kw_only=True):
    """What a node says about itself."""

    hostname: str


class NodeSpec(Shape, frozen=True, kw_only=True):
    """What a node should be."""

    role: str
    availability: str
    labels: dict[str, str] | None = None


class NodeStatus(Shape, frozen=True, kw_only=True):
    """Whether a node answers, and where."""

    state: str
    addr: str = ""


class ManagerStatus(Shape, frozen=True, kw_only=True):
    """Of a manager."""

    addr: str = ""
    reachability: str = ""


class Node(Shape, frozen=True, kw_only=True):
    """A node."""

    id: str = msgspec.field(name="ID")
    description: Description
    spec: NodeSpec
    status: NodeStatus
    manager_status: ManagerStatus | None = None


class ConfigSpec(Shape, frozen=True, kw_only=True):
    """What a config should be."""

    labels: dict[str, str]


class Config(Shape, frozen=True, kw_only=True):
    """A config, listed or inspected."""

    id: str = msgspec.field(name="ID")
    version: Version
    spec: ConfigSpec


class OwnNode(Shape, frozen=True, kw_only=True):
    """Part of the daemon's settings."""

    node_id: str = msgspec.field(name="NodeID")


class Info(Shape, frozen=True, kw_only=True):
    """The daemon's settings."""

    swarm: OwnNode


class Made(Shape, frozen=True, kw_only=True):
    """The response to a creation."""

    id: str = msgspec.field(name="ID")
