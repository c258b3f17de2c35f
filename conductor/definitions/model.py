"""The model of a definitions file as frozen, typed values. `config check`, `show`, `schema` and `example` all use it.

Every key of the file is a field with its built-in default. `grammar.py` has the types of single values, `rules.py` the
checks that involve more than one key.
"""

from typing import Annotated, Any, Literal, dataclass_transform

import msgspec
from msgspec import Meta

from conductor.definitions.grammar import (
    REVISION,
    SERVICE_ID,
    AbsolutePath,
    Command,
    Count,
    EnvName,
    ImageName,
    IPv4Network,
    LabelName,
    Listen,
    Name,
    PlainPath,
    Port,
    Positive,
    ServerName,
    ServiceId,
    SignalName,
    SingleLine,
    Tmpfs,
    Volume,
    matching,
)
from conductor.definitions.scalars import ByteSize, Period, Seconds

__all__ = ["REVISION", "SERVICE_ID"]


def _seconds(number: float) -> Seconds:
    """Return a field with a default duration, as a factory: msgspec cannot write a subclass of float into a schema."""
    return msgspec.field(default_factory=lambda: Seconds(number))


def _period(number: float) -> Period:
    return msgspec.field(default_factory=lambda: Period(number))


def _bytes(number: int) -> ByteSize:
    return msgspec.field(default_factory=lambda: ByteSize(number))


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every mapping of the file: frozen, and unknown keys are errors."""


class SecretRef(Section):
    """The file that holds a secret. Reading it drops one trailing newline."""

    file: AbsolutePath


class EnvFile(Section):
    """An env file in Docker's format. With `secret`, all its values are secrets, not only those that look like secrets."""

    path: AbsolutePath
    secret: bool = False


class Network(Section):
    """Conductor's own bridge network. Tasks and hooks use the addresses in `tasks`, services those outside it."""

    name: Name = "conductor"
    subnet: IPv4Network = "10.213.0.0/20"
    tasks: IPv4Network = "10.213.15.0/24"


class HostNginx(Section):
    """The paths of the host's nginx, and how a cutover changes its upstreams."""

    include_dir: PlainPath = "/etc/nginx/conductor.d"
    config: PlainPath = "/etc/nginx/nginx.conf"
    binary: PlainPath = "/usr/sbin/nginx"
    cutover: Literal["reload", "live"] = "reload"
    announce: Seconds = _seconds(0.5)
    longest_connection: Period = _period(3600)


class HostCron(Section):
    """The directory of installed crontabs, and the command that their lines run."""

    dir: PlainPath = "/etc/cron.d"
    command: PlainPath = "/usr/local/bin/conductor"


class HostSupervise(Section):
    """What `supervise` does about removed services and changed definitions, and how many replicas it starts at once."""

    undefined: Literal["keep", "stop"] = "keep"
    drift: Literal["show", "apply"] = "show"
    starts_at_once: Positive = 4


class Host(Section):
    """The `host:` section of the file."""

    instance: Name = "default"
    docker: Annotated[
        str,
        matching(
            r"(unix|tcp|http|https)://[!-~]+",
            "the address of the Docker daemon (unix, tcp, http or https), for example unix:///run/docker.sock",
        ),
    ] = "unix:///var/run/docker.sock"
    network: Network = msgspec.field(default_factory=Network)
    state_dir: PlainPath = "/var/lib/conductor"
    runtime_dir: PlainPath = "/run/conductor"
    nginx: HostNginx = msgspec.field(default_factory=HostNginx)
    cron: HostCron = msgspec.field(default_factory=HostCron)
    supervise: HostSupervise = msgspec.field(default_factory=HostSupervise)
    keep: Positive = 5


class Stop(Section):
    """The signal that stops a container, and the time it has before it is killed."""

    signal: SignalName = "SIGTERM"
    grace: Seconds = _seconds(30)


class Logging(Section):
    """Docker's log driver for the container, and its options."""

    driver: SingleLine = "json-file"
    options: dict[SingleLine, str] = {}


class Health(Section):
    """The health check of a container: exactly one of `path`, `command`, `tcp` and `none`."""

    path: Annotated[str, matching(r"/[!-~]*", 'a path that starts with "/" and has no spaces')] | None = None
    command: Command | None = None
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


class Tls(Section):
    """The certificate and key files of a server block."""

    certificate: PlainPath
    key: PlainPath


class Server(Section):
    """An nginx server block that Conductor renders."""

    listen: Annotated[
        tuple[Listen, ...], Meta(min_length=1, description="a list with at least one value, for example [443 ssl]")
    ]
    names: Annotated[
        tuple[ServerName, ...],
        Meta(min_length=1, description="a list with at least one name, for example [api.example.com]"),
    ]
    tls: Tls | None = None
    body_limit: ByteSize = _bytes(2**20)
    websockets: bool = False
    template: PlainPath | None = None


class Nginx(Section):
    """How nginx routes to the service. Without `upstream`, the service id is the upstream name."""

    upstream: Name | None = None
    drain: Period = _period(30)
    server: Server | None = None


class Hook(Section):
    """A command that runs in a container of the new revision before an upgrade."""

    command: Command
    timeout: Period = _period(600)


class Cron(Section):
    """The app's crontab: the command that prints it, and how its jobs run."""

    generate: Command
    overlap: Literal["allow", "skip", "queue"] = "allow"
    timeout: Period | None = None


class Ulimit(Section):
    """One resource limit of the container's processes; -1 means no limit."""

    soft: Annotated[int, Meta(ge=-1, description="a whole number, or -1 for no limit")]
    hard: Annotated[int, Meta(ge=-1, description="a whole number, or -1 for no limit")]


class Service(Section):
    """One service of the host."""

    image: ImageName
    count: Count = 1
    command: Command | None = None
    entrypoint: Command | None = None
    workdir: AbsolutePath | None = None
    user: SingleLine | None = None
    env: dict[EnvName, str | SecretRef] = {}
    env_file: AbsolutePath | EnvFile | None = None
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
    tmpfs: tuple[Tmpfs, ...] = ()
    cap_add: tuple[Name, ...] = ()
    cap_drop: tuple[Name, ...] = ()
    ulimits: dict[Name, Ulimit] = {}
    extra_hosts: dict[SingleLine, SingleLine] = {}
    labels: dict[LabelName, str] = {}
    before_upgrade: Hook | None = None
    console: Command | None = None
    cron: Cron | None = None
    notify: Command | None = None


class File(Section, kw_only=True):
    """A definitions file: the services of this host. `defaults` are merged under every service."""

    version: Annotated[Literal[1], Meta(description="1, the only supported format")]
    host: Host = msgspec.field(default_factory=Host)
    defaults: dict[str, Any] = {}
    # Required, so that a truncated file or a misspelt key is never read as a host without services.
    services: Annotated[dict[ServiceId, Any], Meta(description="a mapping of services ({} on a host without services)")]


class Definition(msgspec.Struct, frozen=True, kw_only=True):
    """One service: its typed value, and its keys as written, with the file's `defaults` but without built-in defaults.

    `written` has secrets as references only, so it can be stored. `digest` covers the keys that reach the container.
    `unknown` are the key paths of a stored definition that only a newer version of Conductor has; `written` keeps them.
    """

    id: str
    service: Service
    written: dict[str, Any]
    digest: str
    unknown: tuple[str, ...] = ()

    @property
    def upstream(self) -> str:
        """The name of the service's nginx upstream."""
        nginx = self.service.nginx
        return (nginx.upstream if nginx else None) or self.id
