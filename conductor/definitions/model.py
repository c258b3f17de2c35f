"""The model of a definitions file as frozen, typed values. It is long: one class per mapping, one field per key.

Every key of the file is a field with its built-in default; those of `host:` are in `host.py`. `config check`, `show`,
`schema` and `example` all use the model. `grammar.py` has the types of single values, `rules.py` the checks that involve
more than one key.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from conductor.definitions.grammar import (
    AbsolutePath,
    Command,
    Count,
    Device,
    EnvName,
    HeaderName,
    HeaderValue,
    Hostname,
    ImageName,
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
    matching,
)
from conductor.definitions.host import Host, Notify
from conductor.definitions.listen import redirecting
from conductor.definitions.scalars import ByteSize, Percent, Period, Seconds
from conductor.definitions.section import SecretRef, Section, byte_size, percent, period, seconds


class EnvFile(Section):
    """An env file in Docker's format. With `secret`, all its values are secrets; otherwise, only those that look like secrets."""

    path: AbsolutePath
    secret: bool = False


class Stop(Section):
    """The signal that stops a container, and the time that the container then has before it is killed.

    Without `wait`, a deploy does not wait for old replicas: `supervise` removes them once they have exited or the time is over.
    """

    signal: SignalName = "SIGTERM"
    grace: Seconds = seconds(30)
    wait: bool = True


class Logging(Section):
    """Docker's log driver for the container, and its options."""

    driver: SingleLine = "json-file"
    options: dict[SingleLine, str] = msgspec.field(default_factory=dict)


class Health(Section):
    """The health check of a container: exactly one of `path`, `command`, `tcp` and `none`.

    Without `port`, the service's port is checked.
    """

    path: Annotated[str, matching(r"/[!-~]*", 'a path that starts with "/" and has no spaces')] | None = None
    command: Command | None = None
    tcp: bool = False
    none: bool = False
    port: Port | None = None
    host_header: Annotated[str, matching(r"[!-~]+", "a host name without spaces")] | None = None
    headers: dict[HeaderName, HeaderValue | SecretRef] = msgspec.field(default_factory=dict)
    status: Annotated[
        tuple[Status, ...],
        Meta(min_length=1, description='a list with at least one status, for example [200, "300-399"]'),
    ] = ("200-299",)
    gate_interval: Period = period(0.5)
    interval: Period = period(5)
    timeout: Period = period(5)
    start_timeout: Period = period(60)
    successes: Positive = 2
    failures: Positive = 3
    stable_for: Period = period(5)


class Tls(Section):
    """The certificate and key files for a server block."""

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
    body_limit: ByteSize = byte_size(2**20)
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

    `balance` sets how nginx chooses a replica for each request: each in turn, or the one with the fewest requests in progress.
    `slow_start`, which requires `host.nginx.cutover: live`, is the time over which a new replica reaches its full share.

    `maintenance_page` is a file with a Jinja2 template for the HTML page that nginx returns during maintenance.
    """

    upstream: Name | None = None
    balance: Literal["round-robin", "least"] = "round-robin"
    slow_start: Period | None = None
    drain: Period = period(30)
    maintenance_page: AbsolutePath | None = None
    server: Server | None = None


class Canary(Section, rename={"for_": "for"}):
    """The first part of an upgrade: new replicas get a `share` of the requests for the time in `for`.

    Once the new replicas have answered 100 requests, the upgrade is rolled back if their error rate is above `max_errors` and
    above that of the old replicas, or if the 95th percentile of their response times is more than `max_latency` times that of
    the old replicas.
    """

    share: Percent = percent(10)
    for_: Period = period(300)
    max_errors: Percent = percent(1)
    max_latency: Annotated[float, Meta(ge=1, le=1000, description="a number of at least 1, for example 1.5")] = 1.5


class Hook(Section):
    """A command that runs in a container of the new revision before an upgrade."""

    command: Command
    timeout: Period = period(600)


class StopHook(Section):
    """A command that runs inside each replica before its stop signal, for example to stop taking jobs."""

    command: Command
    timeout: Period = period(10)


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
    """Options of a mount of type volume. With `nocopy`, a new volume starts empty, without the image's files."""

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
    """An existing network that containers join besides Conductor's own. Other containers can reach them by the `aliases`."""

    name: NetworkName
    aliases: tuple[Name, ...] = ()


class Dns(Section):
    """A container's name servers, search domains and resolver options (`resolv.conf`)."""

    servers: tuple[SingleLine, ...] = ()
    search: tuple[Annotated[str, matching(r"[A-Za-z0-9_.-]+", "a domain name")], ...] = ()
    options: tuple[Annotated[str, matching(r"[!-~]+", "a resolver option, for example ndots:1")], ...] = ()


class Service(Section):
    """One service on the host."""

    image: ImageName
    count: Count = 1
    command: Command | None = None
    entrypoint: Command | None = None
    workdir: AbsolutePath | None = None
    user: SingleLine | None = None
    env: dict[EnvName, str | SecretRef] = msgspec.field(default_factory=dict)
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
    cpus: Annotated[float, Meta(gt=0, le=4096, description="a number of CPUs, for example 1.5")] | None = None
    shm_size: ByteSize | None = None
    init: bool = False
    read_only: bool = False
    volumes: tuple[Volume | Mount, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    devices: tuple[Device, ...] = ()
    cap_add: tuple[Name, ...] = ()
    cap_drop: tuple[Name, ...] = ()
    security_opt: tuple[SecurityOpt, ...] = ()
    sysctls: dict[SysctlName, str] = msgspec.field(default_factory=dict)
    pids_limit: (
        Annotated[int, Meta(ge=-1, le=4194304, description="a whole number of processes, or -1 for no limit")] | None
    ) = None
    ulimits: dict[Name, Ulimit] = msgspec.field(default_factory=dict)
    hostname: Hostname | None = None
    dns: Dns = msgspec.field(default_factory=Dns)
    networks: tuple[NetworkName | JoinedNetwork, ...] = ()
    extra_hosts: dict[SingleLine, SingleLine] = msgspec.field(default_factory=dict)
    labels: dict[LabelName, str] = msgspec.field(default_factory=dict)
    before_upgrade: Hook | None = None
    before_stop: StopHook | None = None
    console: Command | None = None
    cron: Cron | None = None
    notify: Command | Notify | None = None


class File(Section, kw_only=True):
    """A definitions file: the services of this host. `defaults` are merged into every service."""

    version: Annotated[Literal[1], Meta(description="1, the only supported format")]
    host: Host = msgspec.field(default_factory=Host)
    defaults: dict[str, Any] = msgspec.field(default_factory=dict)
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
