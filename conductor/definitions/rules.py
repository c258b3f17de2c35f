"""Rules that involve more than one key of a service or the host. Each yields (path, sentence) per problem (pure).

A rule is skipped while one of the keys that it reads has a problem of its own, so that no problem is a mere consequence
of another one.
"""

import ipaddress
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from conductor.definitions.grammar import status_range, tmpfs_mount
from conductor.definitions.host import Host, Notify
from conductor.definitions.listen import socket
from conductor.definitions.model import Health, Mount, Server, Service, mount_target, network_name
from conductor.definitions.tree import Path

RuleFindings = Iterator[tuple[Path, str]]
ServiceRule = Callable[[Service, Mapping[str, Any]], RuleFindings]

_CHECK_KEYS = {"gate_interval", "interval", "timeout", "start_timeout", "successes", "failures"}
_KEYS_BY_KIND = {
    "path": _CHECK_KEYS | {"port", "host_header", "headers", "status"}, "command": _CHECK_KEYS,
    "tcp": _CHECK_KEYS | {"port"}, "none": {"stable_for"},
}  # fmt: skip
# Headers that the HTTP client sets or that change the connection.
_FIXED_HEADERS = {"connection", "content-length", "expect", "host", "te", "trailer", "transfer-encoding", "upgrade"}
_MIN_MEMORY_BYTES = 6 * 2**20  # Docker's minimum
_MAX_PREFIX_LENGTH = 28
_MAX_NOTIFY_SECONDS = 60  # a command ends only when its notifications are delivered


def health_keys(health: Health) -> set[str]:
    """Return the keys of `health:` that have an effect with its kinds of check."""
    return {key for kind in health_kinds(health) for key in (kind, *_KEYS_BY_KIND[kind])}


def health_kinds(health: Health) -> list[str]:
    """Return the kinds of check that `health:` has; a valid file has exactly one."""
    return [kind for kind in _KEYS_BY_KIND if getattr(health, kind) not in {None, False}]


def _health(service: Service, written: Mapping[str, Any]) -> RuleFindings:
    if service.health is None:
        # With nginx, `scale` can give a service with count 0 replicas, which must pass a gate before the cutover.
        if service.count or service.nginx:
            unless = "with nginx" if service.nginx else "unless count is 0"
            yield (
                ("health",),
                f"required {unless}; write a check, for example {{path: /health_check}}, or {{none: true}}",
            )
        return
    kinds = health_kinds(service.health)
    if len(kinds) != 1:
        has = " and ".join(kinds) or "none of them"
        yield ("health",), f"must have exactly one of path, command, tcp: true and none: true, but has {has}"
        return
    for key in written["health"]:
        if key not in _KEYS_BY_KIND and key not in health_keys(service.health):
            yield (
                ("health", key),
                f"has no effect with health.{kinds[0]}; remove it, or write null to drop a default",
            )
    for written_status in service.health.status:
        first, last = status_range(written_status)
        if first > last:
            yield ("health", "status"), f'must start with the lower status; write "{last}-{first}"'
    names = Counter(name.lower() for name in service.health.headers)
    for name in service.health.headers:
        if name.lower() in _FIXED_HEADERS:
            instead = "write host_header" if name.lower() == "host" else "remove it"
            yield ("health", "headers", name), f"Conductor sets this header itself; {instead}"
        elif names[name.lower()] > 1:
            yield ("health", "headers", name), "the same header is set twice; remove one"


def _port(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    health = service.health
    uses = {
        "health.path": health is not None and health.path is not None and health.port is None,
        "health.tcp": health is not None and health.tcp and health.port is None,
        "nginx": service.nginx is not None,
        "publish": service.publish is not None,
    }
    users = [key for key, uses_port in uses.items() if uses_port]
    if users and service.port is None:
        yield ("port",), f"required by {' and '.join(users)}; write the port that the app listens on"
    if health is not None and health.port is not None and service.publish is not None:
        yield (
            ("health", "port"),
            "cannot be combined with publish, which publishes only the service's port; remove it",
        )


def _publish(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    if service.publish is None:
        return
    low, high = service.publish
    # An upgrade needs ports for old and new replicas, and for those that an nginx worker may still use.
    needed = 3 * service.count
    if low > high:
        yield ("publish",), f"must start with the lower port; write [{high}, {low}]"
    elif high - low + 1 < needed:
        has = f"has {high - low + 1} ports, but an upgrade with count {service.count} needs {needed}"
        yield ("publish",), f"{has}; use a larger range"


def _memory(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    if service.memory is not None and service.memory < _MIN_MEMORY_BYTES:
        yield ("memory",), "must be at least 6MiB, Docker's minimum"


def _shm_size(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    if service.shm_size == 0:
        yield ("shm_size",), "must be larger than 0, for example 64MiB"


def _mounts(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    seen: set[str] = set()
    volumes = [(("volumes", index), mount_target(volume)) for index, volume in enumerate(service.volumes)]
    memory = [(("tmpfs", index), tmpfs_mount(written)[0]) for index, written in enumerate(service.tmpfs)]
    for path, mounted in volumes + memory:
        target = mounted.rstrip("/") or "/"
        if target in seen:
            yield path, f"mounts {target} a second time; remove one"
        seen.add(target)


def _volumes(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    """Check the long form: each type has its own kind of source and its own options."""
    for index, volume in enumerate(service.volumes):
        if not isinstance(volume, Mount):
            continue
        other = "volume" if volume.type == "bind" else "bind"
        if volume.source.startswith("/") != (volume.type == "bind"):
            expected = "an absolute path" if volume.type == "bind" else "a volume name"
            yield ("volumes", index, "source"), f"must be {expected} because the type is {volume.type}"
        if getattr(volume, other) is not None:
            yield ("volumes", index, other), f"has no effect because the type is {volume.type}; remove it"


def _dns(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    for index, server in enumerate(service.dns.servers):
        try:
            ipaddress.ip_address(server)
        except ValueError:
            yield ("dns", "servers", index), "must be an IP address, for example 192.0.2.53"


def _stop(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    if service.order == "stop-first" and not service.stop.wait:
        yield (
            ("stop", "wait"),
            "must be true with order: stop-first, because the old replica must exit first; remove it",
        )


def _canary(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    if service.canary is None:
        return
    if service.nginx is None:
        yield ("canary",), "has no effect without nginx; remove it"
    if service.order == "stop-first":
        yield ("canary",), "cannot be combined with order: stop-first, because old and new replicas must run together"
    if not 0 < service.canary.share <= 100:
        yield ("canary", "share"), "must be more than 0%"


def _networks(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    names = Counter(network_name(network) for network in service.networks)
    for index, network in enumerate(service.networks):
        if names[network_name(network)] > 1:
            yield ("networks", index), f"lists {network_name(network)} a second time; remove one"


def _ulimits(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    for name, limit in service.ulimits.items():
        if limit.hard != -1 and not -1 < limit.soft <= limit.hard:
            yield ("ulimits", name), "soft limit exceeds the hard limit; lower soft or raise hard"


def _server(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    server = service.nginx.server if service.nginx else None
    if server is None:
        return
    path = ("nginx", "server", "tls")
    encrypted = any("ssl" in listen.split() for listen in server.listen)
    if encrypted and server.tls is None:
        yield path, "required because listen has ssl; write certificate and key"
    if server.tls is not None and not encrypted:
        yield path, 'has no effect because listen has no ssl; write, for example, listen: ["443 ssl"]'
    yield from _redirect(server)


def _redirect(server: Server) -> RuleFindings:
    path, own = ("nginx", "server", "ssl_redirect"), {socket(listen): listen for listen in server.listen}
    if server.ssl_redirect and not server.redirect_listen:
        yield path, 'has no effect because no address in listen has ssl; write, for example, listen: ["443 ssl"]'
    for address in map(socket, server.redirect_listen):
        if address in own:
            yield path, f'adds its own listener on {address}; remove "{own[address]}" from listen'
    if server.acme_webroot is not None and not server.ssl_redirect:
        yield (
            ("nginx", "server", "acme_webroot"),
            "has no effect without ssl_redirect: true; add that key, or remove this one",
        )


def _notify(notify: tuple[str, ...] | Notify | None) -> RuleFindings:
    if not isinstance(notify, Notify):
        return
    if notify.on and notify.command is None and notify.webhook is None:
        yield ("notify",), "must have a command, a webhook or both, for example {command: [/usr/local/bin/page-me]}"
    if notify.timeout > _MAX_NOTIFY_SECONDS:
        yield ("notify", "timeout"), f"must be at most {_MAX_NOTIFY_SECONDS}s"


SERVICE_RULES: tuple[tuple[frozenset[str], ServiceRule], ...] = (
    (frozenset({"health", "count", "nginx"}), _health),
    (frozenset({"port", "health", "nginx", "publish"}), _port),
    (frozenset({"publish", "count"}), _publish),
    (frozenset({"memory"}), _memory),
    (frozenset({"shm_size"}), _shm_size),
    (frozenset({"volumes", "tmpfs"}), _mounts),
    (frozenset({"volumes"}), _volumes),
    (frozenset({"stop", "order"}), _stop),
    (frozenset({"canary", "nginx", "order"}), _canary),
    (frozenset({"dns"}), _dns),
    (frozenset({"networks"}), _networks),
    (frozenset({"ulimits"}), _ulimits),
    (frozenset({"nginx"}), _server),
    (frozenset({"notify"}), lambda service, _: _notify(service.notify)),
)


def host_rules(host: Host) -> RuleFindings:
    """Check that the task range is inside the network, and that the range does not contain the daemon's gateway.

    Check also the notifications, as those of a service.
    """
    yield from _notify(host.notify)
    if host.fleet is not None and host.fleet.ports[0] > host.fleet.ports[1]:
        yield (
            ("fleet", "ports"),
            f"must start with the lower port; write [{host.fleet.ports[1]}, {host.fleet.ports[0]}]",
        )
    networks: dict[str, ipaddress.IPv4Network] = {}
    for name in ("subnet", "tasks"):
        written = getattr(host.network, name)
        try:
            networks[name] = ipaddress.IPv4Network(written)
        except ValueError:
            try:
                correction = f"; write {ipaddress.IPv4Network(written, strict=False)}"
            except ValueError:
                correction = ", for example 10.213.0.0/20"
            yield ("network", name), f"must be an IPv4 network{correction}"
    if len(networks) < 2:
        return
    subnet, tasks = networks["subnet"], networks["tasks"]
    gateway = subnet.network_address + 1
    if subnet.prefixlen > _MAX_PREFIX_LENGTH:
        yield ("network", "subnet"), f"must be a /{_MAX_PREFIX_LENGTH} (16 addresses) or larger"
    elif subnet.is_loopback or subnet.is_multicast or subnet.is_link_local or subnet.is_reserved:
        yield ("network", "subnet"), "must not be a loopback, multicast, link-local or reserved network"
    elif tasks == subnet or not tasks.subnet_of(subnet):
        yield ("network", "tasks"), f"must be a smaller network inside the subnet {subnet}"
    elif gateway in tasks:
        yield ("network", "tasks"), f"must not contain the gateway {gateway}; use a range at the end of the subnet"
