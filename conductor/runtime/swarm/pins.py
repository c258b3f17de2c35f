"""The nodes of services that stay on one: where it is cut off, Swarm would start another replica elsewhere, and run two."""

from collections import Counter
from collections.abc import Collection
from typing import Any

from conductor.errors import ConductorError, UsageError
from conductor.runtime.swarm.api import SwarmApi
from conductor.runtime.swarm.objects import SwarmObjects

PIN = "pin."  # begins the name of an object; no service id contains a dot
NODE = "node"  # its value


class Pins:
    """One shared object for each of these services. A node in `gone` is left: an operator says that nothing runs there any more."""

    def __init__(self, swarm: SwarmApi, instance: str, gone: Collection[str]) -> None:
        self._swarm = swarm
        self._objects = SwarmObjects(swarm, instance)
        self._gone = gone

    def node(self, service: str) -> str:
        """Return the node of a service, chosen at its first deploy."""
        nodes = {one["Description"]["Hostname"]: one for one in self._swarm.nodes().values()}
        for one in self._gone:
            if one not in nodes or nodes[one]["Status"]["State"] != "down":
                raise UsageError(
                    f"cannot leave node {one}: {'Swarm does not list it as down' if one in nodes else 'no such node'}"
                )
        while True:
            found = self._objects.read(f"{PIN}{service}")
            if found is not None and found.values[NODE] not in self._gone:
                return found.values[NODE]
            values = {NODE: self._choose(nodes)}
            if self._objects.write(found, values) if found else self._objects.create(f"{PIN}{service}", values):
                return values[NODE]

    def _choose(self, nodes: dict[str, dict[str, Any]]) -> str:
        """Return the usable node with the fewest tasks."""
        tasks = Counter(one.get("NodeID") for one in self._swarm.tasks() if one.get("DesiredState") == "running")
        usable = [
            (tasks[one["ID"]], name)
            for name, one in nodes.items()
            if one["Status"]["State"] == "ready" and one["Spec"]["Availability"] == "active"
        ]
        if not usable:
            raise ConductorError("cannot choose a node: none is ready")
        return min(usable)[1]
