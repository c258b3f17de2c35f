"""What more than one key decides: rules over one service or the host, each a finding with a path and a sentence (pure).

A rule names the keys it reads; it is left out while one of them is broken, so that no problem is a consequence of
another one.
"""

import ipaddress
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from conductor.definitions.model import Health, Host, Service
from conductor.definitions.tree import Path

Found = Iterator[tuple[Path, str]]
ServiceRule = Callable[[Service, Mapping[str, Any]], Found]

_PROBE = {"gate_interval", "interval", "timeout", "start_timeout", "successes", "failures"}
_KEYS_OF = {"path": _PROBE | {"host_header"}, "command": _PROBE, "tcp": _PROBE, "none": {"stable_for"}}
_LEAST_MEMORY = 6 * 2**20  # Docker refuses less


def health_keys(health: Health) -> set[str]:
    """The keys of `health:` that mean something with the kinds of check it has."""
    return {key for kind in _kinds(health) for key in (kind, *_KEYS_OF[kind])}


def _kinds(health: Health) -> list[str]:
    return [kind for kind in _KEYS_OF if getattr(health, kind) not in {None, False}]


def _health(service: Service, written: Mapping[str, Any]) -> Found:
    if service.health is None:
        if service.count:
            yield (
                ("health",),
                "is missing: write how to see that it is healthy, for example {path: /health_check}, or {none: true}",
            )
        return
    kinds = _kinds(service.health)
    if len(kinds) != 1:
        has = " and ".join(kinds) or "none of them"
        yield ("health",), f"needs exactly one of path, command, tcp: true and none: true; it has {has}"
        return
    for key in written["health"]:
        if key not in _KEYS_OF and key not in health_keys(service.health):
            yield (
                ("health", key),
                f"means nothing with health.{kinds[0]}: remove it (or write null to drop a default)",
            )


def _port(service: Service, _: Mapping[str, Any]) -> Found:
    health = service.health
    needed = {
        "health.path": health is not None and health.path is not None,
        "health.tcp": health is not None and health.tcp,
        "nginx": service.nginx is not None,
        "publish": service.publish is not None,
    }
    who = [key for key, needs in needed.items() if needs]
    if who and service.port is None:
        yield (
            ("port",),
            f"is missing: {' and '.join(who)} need{'s' if len(who) == 1 else ''} the port the app listens on",
        )


def _publish(service: Service, _: Mapping[str, Any]) -> Found:
    if service.publish is None:
        return
    low, high = service.publish
    needed = 3 * service.count  # of an upgrade: the old, the new, and those that nginx may still know
    if low > high:
        yield ("publish",), f"must go from the lower to the higher port: write [{high}, {low}]"
    elif high - low + 1 < needed:
        yield (
            ("publish",),
            f"has room for {high - low + 1} ports: an upgrade of {service.count} containers needs {needed}",
        )


def _memory(service: Service, _: Mapping[str, Any]) -> Found:
    if service.memory is not None and service.memory < _LEAST_MEMORY:
        yield ("memory",), "must be at least 6MiB, the least that Docker takes"


def _shm_size(service: Service, _: Mapping[str, Any]) -> Found:
    if service.shm_size == 0:
        yield ("shm_size",), "must be larger than 0"


def _mounts(service: Service, _: Mapping[str, Any]) -> Found:
    seen: set[str] = set()
    volumes = [(("volumes", index), volume.split(":")[1]) for index, volume in enumerate(service.volumes)]
    memory = [(("tmpfs", index), path.split(":")[0]) for index, path in enumerate(service.tmpfs)]
    for path, mounted in volumes + memory:
        target = mounted.rstrip("/") or "/"
        if target in seen:
            yield path, f"mounts {target} a second time: keep one"
        seen.add(target)


def _ulimits(service: Service, _: Mapping[str, Any]) -> Found:
    for name, limit in service.ulimits.items():
        if limit.hard != -1 and not -1 < limit.soft <= limit.hard:
            yield ("ulimits", name), "must have a soft limit that is not above the hard one"


def _server(service: Service, _: Mapping[str, Any]) -> Found:
    server = service.nginx.server if service.nginx else None
    if server is None:
        return
    path = ("nginx", "server", "tls")
    encrypted = any("ssl" in listen.split() for listen in server.listen)
    if encrypted and server.tls is None:
        yield path, "is missing: listen says ssl, so write certificate and key"
    if server.tls is not None and not encrypted:
        yield path, 'is never used: no listen says ssl; write for example listen: ["443 ssl"]'


SERVICE_RULES: tuple[tuple[frozenset[str], ServiceRule], ...] = (
    (frozenset({"health", "count"}), _health),
    (frozenset({"port", "health", "nginx", "publish"}), _port),
    (frozenset({"publish", "count"}), _publish),
    (frozenset({"memory"}), _memory),
    (frozenset({"shm_size"}), _shm_size),
    (frozenset({"volumes", "tmpfs"}), _mounts),
    (frozenset({"ulimits"}), _ulimits),
    (frozenset({"nginx"}), _server),
)


def host_rules(host: Host) -> Found:
    """The network must hold its task range, and neither may take the gateway's address from the daemon."""
    networks: dict[str, ipaddress.IPv4Network] = {}
    for name in ("subnet", "tasks"):
        written = getattr(host.network, name)
        try:
            networks[name] = ipaddress.IPv4Network(written)
        except ValueError:
            try:
                meant = f"write {ipaddress.IPv4Network(written, strict=False)}"
            except ValueError:
                meant = "for example 10.213.0.0/20"
            yield ("network", name), f"must be an IPv4 network: {meant}"
    if len(networks) < 2:
        return
    subnet, tasks = networks["subnet"], networks["tasks"]
    if subnet.prefixlen > 28:
        yield ("network", "subnet"), "must be at least a /28 (16 addresses)"
    elif subnet.is_loopback or subnet.is_multicast or subnet.is_link_local or subnet.is_reserved:
        yield ("network", "subnet"), "must be a network for hosts, for example 10.213.0.0/20"
    elif tasks == subnet or not tasks.subnet_of(subnet):
        yield ("network", "tasks"), f"must be a smaller network inside the subnet {subnet}"
    elif subnet.network_address + 1 in tasks:
        yield (("network", "tasks"), f"must not hold {subnet.network_address + 1}, the gateway: take the subnet's end")
