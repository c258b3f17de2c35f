"""What a service cannot have in a fleet, by key (pure)."""

from collections.abc import Iterator

from conductor.definitions.grammar import tmpfs_mount
from conductor.definitions.model import Service
from conductor.definitions.tree import Path

_TMPFS_OPTIONS = {"size", "mode"}


def fleet_refusals(service: Service) -> Iterator[tuple[Path, str]]:
    """Yield (path, sentence) for each key that needs one host, or that Swarm does not have."""
    health = service.health
    own_node = "only the replica's node could run it"
    absent = "Conductor does not pass this option to Swarm"
    for key, is_set, why in (
        (("publish",), service.publish is not None, "the ports come from host.fleet.ports"),
        (("canary",), service.canary is not None, "canary figures cannot be combined across edges"),
        (("stop", "wait"), not service.stop.wait, "supervise does not remove replicas in a fleet"),
        (("before_stop",), service.before_stop is not None, own_node),
        (("devices",), bool(service.devices), absent),
        (("security_opt",), bool(service.security_opt), absent),
        (("health", "command"), health is not None and health.command is not None, f"{own_node}; write path or tcp"),
        (
            ("health", "port"),
            health is not None and health.port not in {None, service.port},
            "only the service's port is published",
        ),
    ):
        if is_set:
            yield key, f"cannot be used in a fleet: {why}"
    for index, volume in enumerate(service.volumes):
        source = volume if isinstance(volume, str) else volume.source
        if source.startswith("/") and service.order != "stop-first":
            why = "a host path can have different contents on each node, and a replica can move; order: stop-first keeps a service on one node"
            yield ("volumes", index), f"cannot be used in a fleet: {why}"
    for index, written in enumerate(service.tmpfs):
        names = {option.partition("=")[0] for option in tmpfs_mount(written)[1].split(",") if option}
        if others := sorted(names - _TMPFS_OPTIONS):
            yield ("tmpfs", index), f"cannot have {', '.join(others)} in a fleet: {absent}"
