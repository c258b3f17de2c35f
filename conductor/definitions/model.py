"""The shape of a definitions file as frozen, typed values; `config check`, `schema` and `example` all come from here.

Every key of the file is a field with its built-in default. What single values look like stands in `grammar.py`, what
needs more than one key to judge in `rules.py`.
"""

from typing import Annotated, Any, Literal, dataclass_transform

import msgspec
from msgspec import Meta

from conductor.definitions.grammar import (
    REVISION,
    SERVICE_ID,
    AbsolutePath,
    Count,
    EnvName,
    ImageName,
    LabelName,
    Line,
    Listen,
    Name,
    Network4,
    PlainPath,
    Port,
    Positive,
    ServerName,
    ServiceId,
    SignalName,
    Volume,
    Words,
    matching,
)
from conductor.definitions.scalars import ByteSize, Period, Seconds

__all__ = ["REVISION", "SERVICE_ID"]


def _seconds(number: float) -> Seconds:
    """A default duration. A factory, because msgspec cannot put a subclass of float into a schema itself."""
    return msgspec.field(default_factory=lambda: Seconds(number))


def _period(number: float) -> Period:
    return msgspec.field(default_factory=lambda: Period(number))


def _bytes(number: int) -> ByteSize:
    return msgspec.field(default_factory=lambda: ByteSize(number))


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What every mapping of the file has in common: frozen, and unknown keys are errors."""


class SecretRef(Shape):
    """Where a secret stands; one trailing newline is dropped when it is read."""

    file: AbsolutePath


class Network(Shape):
    """Conductor's own bridge network; services have fixed addresses outside the part that tasks and hooks draw from."""

    name: Name = "conductor"
    subnet: Network4 = "10.213.0.0/20"
    tasks: Network4 = "10.213.15.0/24"


class HostNginx(Shape):
    """Where the host's nginx is and how a cutover treats it."""

    include_dir: PlainPath = "/etc/nginx/conductor.d"
    config: PlainPath = "/etc/nginx/nginx.conf"
    binary: PlainPath = "/usr/sbin/nginx"
    cutover: Literal["reload", "live"] = "reload"
    announce: Seconds = _seconds(0.5)
    longest_connection: Period = _period(3600)


class HostCron(Shape):
    """Where wrapped crontabs go and what they call."""

    dir: PlainPath = "/etc/cron.d"
    command: PlainPath = "/usr/local/bin/conductor"


class HostSupervise(Shape):
    """What `supervise` may do by itself."""

    undefined: Literal["keep", "stop"] = "keep"
    drift: Literal["show", "apply"] = "show"
    starts_at_once: Positive = 4


class Host(Shape):
    """The `host:` part of the file."""

    instance: Name = "default"
    docker: Annotated[
        str,
        matching(
            r"(unix|tcp|http|https|npipe|ssh)://[!-~]+", "the daemon's address, for example unix:///run/docker.sock"
        ),
    ] = "unix:///var/run/docker.sock"
    network: Network = msgspec.field(default_factory=Network)
    state_dir: PlainPath = "/var/lib/conductor"
    runtime_dir: PlainPath = "/run/conductor"
    nginx: HostNginx = msgspec.field(default_factory=HostNginx)
    cron: HostCron = msgspec.field(default_factory=HostCron)
    supervise: HostSupervise = msgspec.field(default_factory=HostSupervise)
    keep: Positive = 5


class Stop(Shape):
    """How a container is asked to stop, and how long it may take before it is killed."""

    signal: SignalName = "SIGTERM"
    grace: Seconds = _seconds(30)


class Logging(Shape):
    """Docker's log driver for the container."""

    driver: Line = "json-file"
    options: dict[Line, str] = {}


class Health(Shape):
    """When a container is healthy: exactly one of `path`, `command`, `tcp` and `none`."""

    path: Annotated[str, matching(r"/[!-~]*", 'a path that starts with "/" and has no spaces')] | None = None
    command: Words | None = None
    tcp: bool = False
    none: bool = False
    host_header: Annotated[str, matching(r"[!-~]+", "a host name without spaces")] | None = None
    gate_interval: Period = _period(0.5)
    interval: Period = _period(5)
    timeout: Period = _period(5)
    start_timeout: Period = _period(60)
    successes: Positive = 2
    failures: Positive = 3
    stable_for: Period = _period(5)


class Tls(Shape):
    """Certificate files of a server block."""

    certificate: PlainPath
    key: PlainPath


class Server(Shape):
    """A whole nginx server block that Conductor renders."""

    listen: Annotated[
        tuple[Listen, ...], Meta(min_length=1, description="a list of at least one, for example [443 ssl]")
    ]
    names: Annotated[
        tuple[ServerName, ...], Meta(min_length=1, description="a list of at least one, for example [api.example.com]")
    ]
    tls: Tls | None = None
    body_limit: ByteSize = _bytes(2**20)
    websockets: bool = False
    template: PlainPath | None = None


class Nginx(Shape):
    """How nginx reaches the service; `upstream` is the service's id unless written."""

    upstream: Name | None = None
    drain: Period = _period(30)
    server: Server | None = None


class Hook(Shape):
    """A command run in the new revision's image before an upgrade."""

    command: Words
    timeout: Period = _period(600)


class Cron(Shape):
    """The app's own crontab: the command that prints it, and how its jobs run."""

    generate: Words
    overlap: Literal["allow", "skip", "queue"] = "allow"
    timeout: Period | None = None


class Ulimit(Shape):
    """One resource limit of the container's processes; -1 is no limit."""

    soft: Annotated[int, Meta(ge=-1, description="a whole number; -1 is no limit")]
    hard: Annotated[int, Meta(ge=-1, description="a whole number; -1 is no limit")]


class Service(Shape):
    """One service of the host."""

    image: ImageName
    count: Count = 1
    command: Words | None = None
    entrypoint: Words | None = None
    workdir: AbsolutePath | None = None
    user: Line | None = None
    env: dict[EnvName, str | SecretRef] = {}
    env_file: AbsolutePath | None = None
    port: Port | None = None
    publish: Annotated[tuple[Port, Port], Meta(description="two ports, for example [21000, 21015]")] | None = None
    health: Health | None = None
    nginx: Nginx | None = None
    order: Literal["start-first", "stop-first"] = "start-first"
    stop: Stop = msgspec.field(default_factory=Stop)
    logging: Logging = msgspec.field(default_factory=Logging)
    memory: ByteSize | None = None
    cpus: Annotated[float, Meta(gt=0, le=4096, description="a number of processors, for example 1.5")] | None = None
    shm_size: ByteSize | None = None
    init: bool = False
    read_only: bool = False
    volumes: tuple[Volume, ...] = ()
    tmpfs: tuple[AbsolutePath, ...] = ()
    cap_add: tuple[Name, ...] = ()
    cap_drop: tuple[Name, ...] = ()
    ulimits: dict[Name, Ulimit] = {}
    extra_hosts: dict[Line, Line] = {}
    labels: dict[LabelName, str] = {}
    before_upgrade: Hook | None = None
    console: Words | None = None
    cron: Cron | None = None
    notify: Words | None = None


class File(Shape):
    """A definitions file: which services run on this host, and how. `defaults` are merged under every service."""

    version: Annotated[Literal[1], Meta(description="1, the only format there is")]
    host: Host = msgspec.field(default_factory=Host)
    defaults: dict[str, Any] = {}
    services: dict[ServiceId, Any] = {}


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """One service as read: its typed value, and what was written (defaults of the file merged, built-in ones not).

    `written` holds secrets as references only, so it may be stored; `digest` covers what reaches the container.
    """

    id: str
    service: Service
    written: dict[str, Any]
    digest: str

    @property
    def upstream(self) -> str:
        """The name nginx knows the service by."""
        nginx = self.service.nginx
        return (nginx.upstream if nginx else None) or self.id
