"""Checks of the host's network and ports before anything is created."""

import os
from collections.abc import Collection

from conductor.definitions.host import Network
from conductor.definitions.model import Mount
from conductor.errors import ConductorError
from conductor.plan import labels
from conductor.plan.container_spec import required_source
from conductor.runtime.docker.kernel import ephemeral_ports, overlapping_route
from conductor.runtime.docker.shapes import ListedNetwork, Pool


def refuse_route(network: Network) -> None:
    """Refuse a network that overlaps a route of the host."""
    route = overlapping_route(network.subnet)
    if route is not None:
        raise ConductorError(
            f"cannot create network {network.name}: its subnet {network.subnet} overlaps the host's route {route}",
            "choose another host.network.subnet",
        )


def refuse_foreign(network: Network, found: ListedNetwork, instance: str) -> None:
    """Refuse an existing network `found` (as inspected) of another owner or with other addresses."""
    owner = (found.labels or {}).get(labels.INSTANCE)
    if owner != instance:
        existing = f"belongs to instance {owner!r}" if owner else "was not created by Conductor"
        raise ConductorError(
            f"cannot use network {network.name}: the existing network of that name {existing}",
            f"choose another host.network.name, or remove it: docker network rm {network.name}",
        )
    pool = (found.ipam.config or [Pool()])[0]
    if (pool.subnet, pool.ip_range) != (network.subnet, network.tasks):
        raise ConductorError(
            f"cannot use network {network.name}: it has subnet {pool.subnet} with "
            f"{pool.ip_range} for tasks, but the definitions file has {network.subnet} with {network.tasks}",
            f"restore host.network, or stop all containers on that network and run docker network rm {network.name}",
        )


def refuse_ephemeral(low: int, high: int) -> None:
    """Refuse ports from the range that the kernel gives to outgoing connections: one of them may take the port first."""
    first, last = ephemeral_ports()
    if low <= last and high >= first:
        raise ConductorError(
            f"cannot publish ports {low} to {high}: the kernel uses {first} to {last} for outgoing connections",
            f"choose a range below {first}, or narrow net.ipv4.ip_local_port_range",
        )


def refuse_missing(volumes: Collection[str | Mount]) -> None:
    """Refuse volumes whose source must exist on this host and does not."""
    for source in map(required_source, volumes):
        if source is not None and not os.path.lexists(source):
            raise ConductorError(
                f"cannot mount {source}: it does not exist", f"create the file; for a directory: mkdir -p {source}"
            )


def refuse_missing_networks(names: Collection[str]) -> None:
    """Refuse networks that were not found. Conductor creates only its own network."""
    for name in sorted(names):
        raise ConductorError(
            f"cannot connect containers to network {name}: it does not exist",
            f"create it: docker network create {name}",
        )
