"""Checks of a fleet: its managers, its edges, and the clocks and addresses of its nodes."""

import ipaddress
from collections.abc import Iterator

from conductor.doctor.examination import Examination
from conductor.doctor.finding import Finding, error, warning
from conductor.plan.transition import was_routed
from conductor.runtime.port import NotManager
from conductor.times import duration_text

CLOCK_SECONDS = 5.0


def manager(host: Examination) -> Iterator[Finding]:
    """This host is a manager."""
    try:
        host.nodes()
    except NotManager as refused:
        yield error(
            check="fleet-manager",
            what="this host is not a manager of a Docker Swarm, but the definitions have host.fleet",
            why="nothing can be deployed, repaired or inspected",
            fix=refused.hint,
        )


def quorum(host: Examination) -> Iterator[Finding]:
    """More than half of the managers answer, and would without one of them."""
    managers = [one for one in host.nodes() if one.is_manager]
    away = sorted(one.name for one in managers if not one.is_reachable)
    spare = len(managers) - len(away) - (len(managers) // 2 + 1)
    if away or (managers and spare < 1):
        verb = "is" if len(away) == 1 else "are"
        down = f"{len(away)} of {len(managers)} managers {verb} not responding: {', '.join(away)}" if away else ""
        yield warning(
            check="fleet-quorum",
            what=down or f"the fleet has only {len(managers)} manager{'s' * (len(managers) != 1)}",
            why="without a majority of the managers, nothing can be changed"
            + ("; if one more fails, all changes stop" if spare < 1 else ""),
            fix="docker node ls   (start what is down, or docker node promote NODE: use three or five managers)",
        )


def edges(host: Examination) -> Iterator[Finding]:
    """There are edges, each is a manager, and each has confirmed the latest step of every service."""
    nodes = host.nodes()
    labelled = [one for one in nodes if one.is_edge]
    if nodes and not labelled:
        yield error(
            check="fleet-edge",
            what="no manager is an edge",
            why="no service behind nginx can be deployed",
            fix="docker node update --label-add conductor.edge=true NODE",
        )
    for one in labelled:
        if not one.is_manager:
            yield error(
                check="fleet-edge",
                what=f"edge {one.name} is a worker",
                why="no service behind nginx can be deployed, because an edge must be a manager",
                fix=f"docker node promote {one.name}   (or docker node update --label-rm conductor.edge {one.name})",
            )
    if not labelled or not all(one.is_manager for one in labelled):
        return
    for service in host.readable:
        if was_routed(host.context.store.wanted(service)) and host.context.store.journal(service) is None:
            for edge in host.context.traffic.edges(service):
                if not edge.confirmed:
                    cause = f": {edge.error}" if edge.error else ""
                    yield error(
                        check="fleet-unconfirmed",
                        service=service,
                        what=f"edge {edge.name} has not confirmed the {edge.step}{cause}",
                        why="its nginx may send requests to replicas that are gone, and the next deploy fails",
                        fix="systemctl status conductor-supervise   (on that edge)",
                    )


def exposed(host: Examination) -> Iterator[Finding]:
    """No node advertises a public address: Docker opens the ports of replicas on every address of a node."""
    public = sorted(one.name for one in host.nodes() if _is_public(one.address))
    fleet = host.context.host.fleet
    if public and fleet is not None:
        low, high = fleet.ports
        yield warning(
            check="fleet-exposed-ports",
            what=f"ports {low} to {high} may be open to the internet on {', '.join(public)}",
            why="clients can reach the replicas directly, bypassing nginx's access rules and TLS",
            fix="use a private network between the nodes, or restrict the ports in the iptables chain DOCKER-USER",
        )


def clocks(host: Examination) -> Iterator[Finding]:
    """The clocks of the nodes agree."""
    for one in host.nodes():
        if one.clock_offset is not None and abs(one.clock_offset) > CLOCK_SECONDS:
            off = f"{duration_text(round(abs(one.clock_offset)))} {'ahead of' if one.clock_offset > 0 else 'behind'}"
            yield warning(
                check="fleet-clock",
                what=f"{one.name}'s clock is {off} the leader's",
                why="cron jobs run at the wrong time, and history entries and log lines are out of order",
                fix=f"timedatectl set-ntp true   (on {one.name})",
            )


def _is_public(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_global
    except ValueError:
        return False


CHECKS = (manager, quorum, edges, exposed, clocks)
