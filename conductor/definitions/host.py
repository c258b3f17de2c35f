"""The `host:` section of a definitions file as frozen, typed values: every key is a field with its built-in default."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from conductor import RUNTIME_DIR, STATE_DIR
from conductor.definitions.grammar import Command, IPv4Network, Name, PlainPath, Port, Positive, WebhookUrl, matching
from conductor.definitions.scalars import Percent, Period, Seconds
from conductor.definitions.section import SecretRef, Section, percent, period, seconds


class Network(Section):
    """Conductor's own bridge network. Tasks and hooks use the addresses in `tasks`, services those outside it."""

    name: Name = "conductor"
    subnet: IPv4Network = "10.213.0.0/20"
    tasks: IPv4Network = "10.213.15.0/24"


class HostNginx(Section):
    """The paths of the host's nginx, and how a cutover changes its upstreams.

    `prefix` is the directory for nginx's `-p` option; the default is that of the running nginx, or the one built into the binary.
    """

    include_dir: PlainPath = "/etc/nginx/conductor.d"
    config: PlainPath = "/etc/nginx/nginx.conf"
    binary: PlainPath = "/usr/sbin/nginx"
    prefix: PlainPath | None = None
    cutover: Literal["reload", "live"] = "reload"
    announce: Seconds = seconds(0.5)
    longest_connection: Period = period(3600)


class HostCron(Section):
    """The directory for installed crontabs, and the command that they run."""

    dir: PlainPath = "/etc/cron.d"
    command: PlainPath = "/usr/local/bin/conductor"


class HostSupervise(Section):
    """How `supervise` handles removed services and changed definitions, and how many services may be starting at once."""

    undefined: Literal["keep", "stop"] = "keep"
    drift: Literal["show", "apply"] = "show"
    starts_at_once: Positive = 4


class HostGc(Section):
    """When garbage is removed: after each upgrade, and more of it while less than `free` of a disk is free.

    `logs` is how long the logs of removed containers are kept.
    """

    after_upgrade: bool = True
    free: Percent = percent(10)
    logs: Period = period(30 * 86400)


class HostWeb(Section):
    """What `supervise` publishes for `conductor web` beyond the host's state. `logs`: each service's latest log lines."""

    logs: bool = False


class HostFleet(Section):
    """The host is a Swarm manager, and all managers run the same services. Each replica gets one of these ports on its node."""

    ports: Annotated[tuple[Port, Port], Meta(description="two ports, for example [21000, 21999]")]


NotifyEvent = Literal["succeeded", "failed", "interrupted", "unhealthy", "healed", "backing-off"]


class Notify(Section):
    """The command and the webhook that receive notifications, and the events that are sent to them.

    `timeout` limits each delivery.
    """

    command: Command | None = None
    webhook: WebhookUrl | SecretRef | None = None
    on: tuple[NotifyEvent, ...] = ("failed", "interrupted", "unhealthy", "healed", "backing-off")
    timeout: Period = period(10)


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
