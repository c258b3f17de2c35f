"""The model of a definitions file as frozen, typed values. `config check`, `show`, `schema` and `example` all use it.

Every key of the file is a field with its built-in default. `grammar.py` has the types of single values, `rules.py` the
checks that involve more than one key.
"""

from typing import Annotated, Any, Literal, dataclass_transform

import msgspec
from msgspec import Meta

from conductor import RUNTIME_DIR, STATE_DIR
from conductor.definitions.grammar import (
    REVISION,
    SERVICE_ID,
    AbsolutePath,
    Command,
    Count,
    Device,
    EnvName,
    HeaderName,
    HeaderValue,
    Hostname,
    ImageName,
    IPv4Network,
    LabelName,
    Listen,
    MountSource,
    Name,
    NetworkName,
    PlainPath,
    Port,
    Positive,
    Propagation,
    SecurityOpt,
    ServerName,
    ServiceId,
    SignalName,
    SingleLine,
    Status,
    SysctlName,
    Tmpfs,
    Volume,
    WebhookUrl,
    matching,
)
from conductor.definitions.listen import redirecting
from conductor.definitions.scalars import ByteSize, Percent, Period, Seconds

__all__ = ["REVISION", "SERVICE_ID"]


def _seconds(number: float) -> Seconds:
    """Return a field with a default duration, as a factory: msgspec cannot write a subclass of float into a schema."""
    return msgspec.field(default_factory=lambda: Seconds(number))


def _period(number: float) -> Period:
    return msgspec.field(default_factory=lambda: Period(number))


def _percent(number: float) -> Percent:
    return msgspec.field(default_factory=lambda: Percent(number))


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
    """The paths of the host's nginx, and how a cutover changes its upstreams.

    `prefix` is the directory of nginx's option `-p`; without it, that of the running nginx, or the built-in one.
    """

    include_dir: PlainPath = "/etc/nginx/conductor.d"
    config: PlainPath = "/etc/nginx/nginx.conf"
    binary: PlainPath = "/usr/sbin/nginx"
    prefix: PlainPath | None = None
    cutover: Literal["reload", "live"] = "reload"
    announce: Seconds = _seconds(0.5)
    longest_connection: Period = _period(3600)


class HostCron(Section):
    """The directory of installed crontabs, and the command that their lines run."""

    dir: PlainPath = "/etc/cron.d"
    command: PlainPath = "/usr/local/bin/conductor"


class HostSupervise(Section):
    """What `supervise` does about removed services and changed definitions, and how many services may be starting at once."""

    undefined: Literal["keep", "stop"] = "keep"
    drift: Literal["show", "apply"] = "show"
    starts_at_once: Positive = 4


class HostGc(Section):
    """When garbage is removed: after each upgrade, and more of it while less than `free` of a disk is free.

    `logs` is how long the logs of removed containers are kept.
    """

    after_upgrade: bool = True
    free: Percent = _percent(10)
    logs: Period = _period(30 * 86400)


class HostWeb(Section):
    """What `supervise` publishes for `conductor web` beyond the state of the host. `logs`: the latest log lines of each service."""

    logs: bool = False


class HostFleet(Section):
    """The host is a manager of a Swarm, whose managers share their services. Each replica has one of these ports, on its node."""

    ports: Annotated[tuple[Port, Port], Meta(description="two ports, for example [21000, 21999]")]


NotifyEvent = Literal["succeeded", "failed", "rolled-back", "unhealthy", "healed", "backing-off"]


class Notify(Section):
    """The command and the webhook that receive notifications, and the events that they receive.

    An attempt to deliver one ends after `timeout`.
    """

    command: Command | None = None
    webhook: WebhookUrl | SecretRef | None = None
    on: tuple[NotifyEvent, ...] = ("failed", "rolled-back", "unhealthy", "healed", "backing-off")
    timeout: Period = _period(10)


class Host(Section):
    """The `host:` section of the file."""

    instance: Name = "default"
    docker: Annotated[
        str,
        matching(
            r"unix:///[!-~]+|(tcp|http)://[!-~]+:[0-9]{1,5}",
            "the address of the Docker daemon: unix:///PATH or tcp://HOST:PORT",
        ),
    ] = "unix:///var/run/docker.sock"
    network: Network = msgspec.field(default_factory=Network)
    state_dir: PlainPath = STATE_DIR
    runtime_dir: PlainPath = RUNTIME_DIR
    nginx: HostNginx = msgspec.field(default_factory=HostNginx)
    cron: HostCron = msgspec.field(default_factory=HostCron)
    supervise: HostSupervise = msgspec.field(default_factory=HostSupervise)
    gc: HostGc = msgspec.field(default_factory=HostGc)
    web: HostWeb = msgspec.field(default_factory=HostWeb)
    fleet: HostFleet | None = None
    notify: Command | Notify | None = None
    keep: Positive = 5


class Stop(Section):
    """The signal that stops a container, and the time it has before it is killed.

    Without `wait`, a deploy does not wait for old replicas: `supervise` removes them when they have exited or the time is over.
    """

    signal: SignalName = "SIGTERM"
    grace: Seconds = _seconds(30)
    wait: bool = True


class Logging(Section):
    """Docker's log driver for the container, and its options."""

    driver: SingleLine = "json-file"
    options: dict[SingleLine, str] = {}


class Health(Section):
    """The health check of a container: exactly one of `path`, `command`, `tcp` and `none`.

    Without `port`, the port of the service is checked.
    """

    path: Annotated[str, matching(r"/[!-~]*", 'a path that starts with "/" and has no spaces')] | None = None
    command: Command | None = None
    tcp: bool = False
    none: bool = False
    port: Port | None = None
    host_header: Annotated[str, matching(r"[!-~]+", "a host name without spaces")] | None = None
    headers: dict[HeaderName, HeaderValue | SecretRef] = {}
    status: Annotated[
        tuple[Status, ...],
        Meta(min_length=1, description='a list with at least one status, for example [200, "300-399"]'),
    ] = ("200-299",)
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
    """An nginx server block that Conductor renders.

    `response_timeout` and `request_timeout` limit the time without progress while nginx reads a response from the app, or
    sends a request to it; nginx's own default is 60 s. Without `buffering`, nginx passes requests and responses on as they
    arrive. `ssl_redirect` adds a server block on port 80, which serves ACME challenges from `acme_webroot`.
    """

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
    response_timeout: Period | None = None
    request_timeout: Period | None = None
    buffering: bool = True
    ssl_redirect: bool = False
    acme_webroot: PlainPath | None = None
    template: PlainPath | None = None

    @property
    def redirect_listen(self) -> tuple[str, ...]:
        """The values of `listen` of the server block that redirects to TLS; none without `ssl_redirect`."""
        found = map(redirecting, self.listen) if self.ssl_redirect else ()
        return tuple(dict.fromkeys(value for value in found if value))


class Nginx(Section):
    """How nginx routes to the service. Without `upstream`, the service id is the upstream name.

    `balance` chooses a replica for each request: each in turn, or the one with the fewest requests in progress. With
    `slow_start`, which needs `host.nginx.cutover: live`, the share of a replica that joins others rises to its full share over
    this time.

    `maintenance_page` is the file with a Jinja2 template of the HTML page that answers requests in maintenance.
    """

    upstream: Name | None = None
    balance: Literal["round-robin", "least"] = "round-robin"
    slow_start: Period | None = None
    drain: Period = _period(30)
    maintenance_page: AbsolutePath | None = None
    server: Server | None = None


class Canary(Section, rename={"for_": "for"}):
    """The first part of an upgrade: new replicas get a `share` of the requests for the time `for`.

    Once the new replicas have answered 100 requests, the upgrade is rolled back if their error rate is above `max_errors` and
    above that of the old replicas, or if the 95th percentile of their response times is more than `max_latency` times that of
    the old replicas.
    """

    share: Percent = _percent(10)
    for_: Period = _period(300)
    max_errors: Percent = _percent(1)
    max_latency: Annotated[float, Meta(ge=1, le=1000, description="a number of at least 1, for example 1.5")] = 1.5


class Hook(Section):
    """A command that runs in a container of the new revision before an upgrade."""

    command: Command
    timeout: Period = _period(600)


class StopHook(Section):
    """A command that runs inside each replica before its stop signal, for example to take no more jobs."""

    command: Command
    timeout: Period = _period(10)


class Cron(Section):
    """The app's crontab: the command that prints it, and how its jobs run."""

    generate: Command
    overlap: Literal["allow", "skip", "queue"] = "allow"
    timeout: Period | None = None


class Ulimit(Section):
    """One resource limit of the container's processes; -1 means no limit."""

    soft: Annotated[int, Meta(ge=-1, description="a whole number, or -1 for no limit")]
    hard: Annotated[int, Meta(ge=-1, description="a whole number, or -1 for no limit")]


class BindOptions(Section):
    """Options of a mount of type bind."""

    propagation: Propagation | None = None


class VolumeOptions(Section):
    """Options of a mount of type volume. With `nocopy`, a new volume begins empty, without the image's files."""

    nocopy: bool = False


class Mount(Section):
    """A volume in long form, with the keys of a Compose file. The source of a bind must exist on the host."""

    type: Literal["bind", "volume"]
    source: MountSource
    target: AbsolutePath
    read_only: bool = False
    bind: BindOptions | None = None
    volume: VolumeOptions | None = None


class JoinedNetwork(Section):
    """An existing network that containers join besides Conductor's own. Other containers find them by the `aliases`."""

    name: NetworkName
    aliases: tuple[Name, ...] = ()


class Dns(Section):
    """The name servers of a container, the domains it searches, and options of its resolver (`resolv.conf`)."""

    servers: tuple[SingleLine, ...] = ()
    search: tuple[Annotated[str, matching(r"[A-Za-z0-9_.-]+", "a domain name")], ...] = ()
    options: tuple[Annotated[str, matching(r"[!-~]+", "a resolver option, for example ndots:1")], ...] = ()


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
    health: Annotated[Health, Meta(description="a mapping, for example {path: /health_check}")] | None = None
    nginx: Annotated[Nginx, Meta(description="a mapping, for example {upstream: shop}, or {}")] | None = None
    canary: Canary | None = None
    order: Literal["start-first", "stop-first"] = "start-first"
    stop: Stop = msgspec.field(default_factory=Stop)
    logging: Logging = msgspec.field(default_factory=Logging)
    memory: ByteSize | None = None
    cpus: Annotated[float, Meta(gt=0, le=4096, description="a number of processors, for example 1.5")] | None = None
    shm_size: ByteSize | None = None
    init: bool = False
    read_only: bool = False
    volumes: tuple[Volume | Mount, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    devices: tuple[Device, ...] = ()
    cap_add: tuple[Name, ...] = ()
    cap_drop: tuple[Name, ...] = ()
    security_opt: tuple[SecurityOpt, ...] = ()
    sysctls: dict[SysctlName, str] = {}
    pids_limit: (
        Annotated[int, Meta(ge=-1, le=4194304, description="a whole number of processes, or -1 for no limit")] | None
    ) = None
    ulimits: dict[Name, Ulimit] = {}
    hostname: Hostname | None = None
    dns: Dns = msgspec.field(default_factory=Dns)
    networks: tuple[NetworkName | JoinedNetwork, ...] = ()
    extra_hosts: dict[SingleLine, SingleLine] = {}
    labels: dict[LabelName, str] = {}
    before_upgrade: Hook | None = None
    before_stop: StopHook | None = None
    console: Command | None = None
    cron: Cron | None = None
    notify: Command | Notify | None = None


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


def mount_target(volume: str | Mount) -> str:
    """Return the path at which a volume is mounted."""
    return volume.target if isinstance(volume, Mount) else volume.split(":")[1]


def network_name(network: str | JoinedNetwork) -> str:
    """Return the name of an additional network."""
    return network.name if isinstance(network, JoinedNetwork) else network
