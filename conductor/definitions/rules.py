"""Rules that involve more than one key of a service or the host. Each yields (path, sentence) per problem (pure).

A rule is skipped while one of the keys that it reads has a problem of its own, so that no problem is a mere consequence
of another one.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from conductor.definitions.grammar import tmpfs_mount
from conductor.definitions.model import Health, Host, Service
from conductor.definitions.tree import Path

RuleFindings = Iterator[tuple[Path, str]]
ServiceRule = Callable[[Service, Mapping[str, Any]], RuleFindings]

_CHECK_KEYS = {"gate_interval", "interval", "timeout", "start_timeout", "successes", "failures"}
_KEYS_BY_KIND = {
    "path": _CHECK_KEYS | {"host_header"}, "command": _CHECK_KEYS, "tcp": _CHECK_KEYS, "none": {"stable_for"},
}  # fmt: skip
_MIN_MEMORY_BYTES = 6 * 2**20  # Docker's minimum
_MAX_PREFIX_LENGTH = 28


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


def _port(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    health = service.health
    uses = {
        "health.path": health is not None and health.path is not None,
        "health.tcp": health is not None and health.tcp,
        "nginx": service.nginx is not None,
        "publish": service.publish is not None,
    }
    users = [key for key, uses_port in uses.items() if uses_port]
    if users and service.port is None:
        yield ("port",), f"required by {' and '.join(users)}; write the port that the app listens on"


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
        yield ("publish",), f"{has}; write a larger range"


def _memory(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    if service.memory is not None and service.memory < _MIN_MEMORY_BYTES:
        yield ("memory",), "must be at least 6MiB, Docker's minimum"


def _shm_size(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    if service.shm_size == 0:
        yield ("shm_size",), "must be larger than 0, for example 64MiB"


def _mounts(service: Service, _: Mapping[str, Any]) -> RuleFindings:
    seen: set[str] = set()
    volumes = [(("volumes", index), volume.split(":")[1]) for index, volume in enumerate(service.volumes)]
    memory = [(("tmpfs", index), tmpfs_mount(written)[0]) for index, written in enumerate(service.tmpfs)]
    for path, mounted in volumes + memory:
        target = mounted.rstrip("/") or "/"
        if target in seen:
            yield path, f"mounts {target} a second time; remove one"
        seen.add(target)


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
        yield path, 'has no effect because listen has no ssl; write for example listen: ["443 ssl"]'


SERVICE_RULES: tuple[tuple[frozenset[str], ServiceRule], ...] = (
    (frozenset({"health", "count", "nginx"}), _health),
    (frozenset({"port", "health", "nginx", "publish"}), _port),
    (frozenset({"publish", "count"}), _publish),
    (frozenset({"memory"}), _memory),
    (frozenset({"shm_size"}), _shm_size),
    (frozenset({"volumes", "tmpfs"}), _mounts),
    (frozenset({"ulimits"}), _ulimits),
    (frozenset({"nginx"}), _server),
)


def host_rules(host: Host) -> RuleFindings:
    """Check that the task range is inside the network, and that the range does not contain the daemon's gateway."""
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
        yield ("network", "subnet"), "must be a network for hosts, for example 10.213.0.0/20"
    elif tasks == subnet or not tasks.subnet_of(subnet):
        yield ("network", "tasks"), f"must be a smaller network inside the subnet {subnet}"
    elif gateway in tasks:
        yield ("network", "tasks"), f"must not contain the gateway {gateway}; use a range at the end of the subnet"
