"""What of the network and the ports of a host is refused before anything is made: it belongs to somebody else."""

from typing import Any

from conductor.definitions.model import Network
from conductor.errors import ConductorError
from conductor.plan.container_spec import LABEL
from conductor.runtime.docker.kernel import clashing_route, ephemeral_ports


def refuse_route(network: Network) -> None:
    """A network that would cover a route of the host."""
    route = clashing_route(network.subnet)
    if route is not None:
        raise ConductorError(
            f"cannot make network {network.name}: its subnet {network.subnet} overlaps the host's route {route}",
            "choose another host.network.subnet",
        )


def refuse_foreign(network: Network, found: dict[str, Any], instance: str) -> None:
    """A network of that name, as the daemon shows it, that is another's or has other addresses."""
    owner = (found.get("Labels") or {}).get(f"{LABEL}instance")
    if owner != instance:
        whose = f"belongs to instance {owner!r}" if owner else "is not Conductor's"
        raise ConductorError(
            f"cannot use network {network.name}: a network of that name exists and {whose}",
            "choose another host.network.name, or remove that network",
        )
    pools = found.get("IPAM", {}).get("Config") or [{}]
    if (pools[0].get("Subnet"), pools[0].get("IPRange")) != (network.subnet, network.tasks):
        raise ConductorError(
            f"cannot use network {network.name}: it has subnet {pools[0].get('Subnet')} with "
            f"{pools[0].get('IPRange')} for tasks, the definitions say {network.subnet} with {network.tasks}",
            "set host.network as it was, or remove the network when nothing runs on it",
        )


def refuse_ephemeral(low: int, high: int) -> None:
    """A port that the kernel deals to outgoing connections is taken by one of them some day."""
    first, last = ephemeral_ports()
    if low <= last and high >= first:
        raise ConductorError(
            f"cannot publish ports {low} to {high}: the kernel deals {first} to {last} to outgoing connections",
            "choose a range below, or narrow net.ipv4.ip_local_port_range",
        )
