"""What the processes of one manager share with all others: Swarm's objects, the leases on them, and the names of the edges."""

import functools
import os
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from conductor.clock import Clock, seconds_between
from conductor.errors import ConductorError, UsageError
from conductor.plan.lease import Lease
from conductor.plan.node import Node
from conductor.runtime.docker.api import EngineApi
from conductor.runtime.swarm.api import SwarmApi
from conductor.runtime.swarm.objects import SwarmObjects
from conductor.runtime.swarm.responses import address
from conductor.state.fleet.leases import Leases
from conductor.state.fleet.objects import RecentObjects

EDGE: Final = "conductor.edge"  # the label of a node, whose value is "true"


class Present(NamedTuple):
    """The edges that Swarm does not consider lost, and all nodes that are not ready."""

    edges: frozenset[str]
    not_ready: frozenset[str]


class Fleet(NamedTuple):
    """One process's access to the fleet of an instance."""

    swarm: SwarmApi
    objects: SwarmObjects
    recent: RecentObjects
    leases: Leases

    def edges(self, without: Collection[str] = ()) -> tuple[str, ...]:
        """Return the managers whose nginx carries traffic, except those of which an operator says that theirs does not."""
        labelled = [one for one in self.swarm.nodes().values() if _is_edge(one)]
        for one in labelled:
            if one["Spec"]["Role"] != "manager":
                raise ConductorError(
                    f"cannot use edge {_name(one)}: it is a worker",
                    f"docker node promote {_name(one)}, or docker node update --label-rm {EDGE} {_name(one)}",
                )
        names = sorted(map(_name, labelled))
        if unknown := sorted(set(without) - set(names)):
            raise UsageError(f"cannot continue without edge {', '.join(unknown)}: the edges are {', '.join(names)}")
        return tuple(name for name in names if name not in without)

    def present(self) -> Present:
        """Return who can act now. After an election, the state of all nodes is `unknown` until they have registered again."""
        nodes = [(_name(one), one["Status"]["State"], _is_edge(one)) for one in self.swarm.nodes().values()]
        ready = frozenset(
            name for name, state, _ in nodes if state == "ready"
        )  # a host that joined again is listed twice
        return Present(
            edges=frozenset(name for name, state, is_edge in nodes if is_edge and state != "down"),
            not_ready=frozenset(name for name, _, _ in nodes) - ready,
        )

    def members(self) -> tuple[Node, ...]:
        """Return all nodes."""
        offsets: dict[str, float] = {}
        for one in self.swarm.tasks():
            if one["Status"]["State"] == "running" and one.get(
                "UpdatedAt"
            ):  # its node has set the first time, the leader the second one
                offset = seconds_between(one["UpdatedAt"], one["Status"]["Timestamp"])
                offsets[one.get("NodeID", "")] = min(offset, offsets.get(one.get("NodeID", ""), offset), key=abs)
        return tuple(
            Node(
                name=_name(one), address=address(one), is_up=one["Status"]["State"] == "ready",
                is_manager=one["Spec"]["Role"] == "manager",
                is_reachable=(one.get("ManagerStatus") or {}).get("Reachability") == "reachable",
                is_edge=_is_edge(one), clock_offset=offsets.get(id_),
            )
            for id_, one in sorted(self.swarm.nodes().items(), key=lambda found: _name(found[1]))
        )  # fmt: skip

    def own_name(self) -> str:
        """Return the name of this manager as the others know it."""
        own = self.swarm.node_id()
        node = self.swarm.nodes().get(own)
        if node is None:
            raise ConductorError(f"cannot find this host among the nodes of the swarm: no node has the id {own}")
        return _name(node)


@functools.cache
def fleet(docker: str, instance: str, command: str, *, yields: bool = False) -> Fleet:
    """Return this process's access, the same for all its actions: a lease that one of them has is renewed for all."""
    clock = Clock()
    swarm = SwarmApi(EngineApi(docker), clock)
    objects = SwarmObjects(swarm, instance)
    like = Lease(token="", node=os.uname().nodename, pid=os.getpid(), command=command, since="", yields=yields)
    recent = RecentObjects(objects, clock)
    return Fleet(swarm, objects, recent, Leases(objects, clock, like, recent=recent if yields else None))


def _is_edge(node: dict[str, Any]) -> bool:
    return (node["Spec"].get("Labels") or {}).get(EDGE) == "true"


def _name(node: dict[str, object]) -> str:
    return str(node["Description"]["Hostname"])  # type: ignore[index]
