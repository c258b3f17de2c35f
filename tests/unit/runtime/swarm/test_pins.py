"""A service that stays on one node gets it once, and leaves it only by an operator's word."""

from typing import Any, cast

import pytest

from conductor.errors import ConductorError, UsageError
from conductor.runtime.swarm.api import SwarmApi
from conductor.runtime.swarm.pins import Pins


class Swarm:
    """The part of `SwarmApi` that pins need."""

    def __init__(self) -> None:
        self.states = {"h1": "ready", "h2": "ready", "h3": "ready"}
        self.drained: set[str] = set()
        self.tasks_on = ["h1", "h1", "h2", "h3", "h3"]
        self.stored: dict[str, dict[str, Any]] = {}

    def nodes(self) -> dict[str, Any]:
        return {
            f"id-{name}": {
                "ID": f"id-{name}", "Description": {"Hostname": name}, "Status": {"State": state},
                "Spec": {"Availability": "drain" if name in self.drained else "active"},
            }
            for name, state in self.states.items()
        }  # fmt: skip

    def tasks(self) -> list[dict[str, Any]]:
        return [{"NodeID": f"id-{name}", "DesiredState": "running"} for name in self.tasks_on]

    def config(self, name: str) -> dict[str, Any] | None:
        return self.stored.get(name)

    def create_config(self, spec: dict[str, Any]) -> bool:
        if spec["Name"] in self.stored:
            return False
        self.stored[spec["Name"]] = {"ID": spec["Name"], "Version": {"Index": 1}, "Spec": spec}
        return True

    def update_config(self, config: str, version: int, spec: dict[str, Any]) -> bool:
        self.stored[config] = {"ID": config, "Version": {"Index": version + 1}, "Spec": spec}
        return True


@pytest.fixture
def swarm() -> Swarm:
    return Swarm()


def pins(swarm: Swarm, *gone: str) -> Pins:
    return Pins(cast("SwarmApi", swarm), "default", gone)


def test_the_node_with_the_fewest_tasks_is_chosen_once(swarm: Swarm) -> None:
    assert pins(swarm).node("job") == "h2"
    swarm.tasks_on += ["h2", "h2"]
    assert pins(swarm).node("job") == "h2"
    assert pins(swarm).node("other") == "h1"


def test_a_node_that_is_down_is_not_left_by_itself(swarm: Swarm) -> None:
    pins(swarm).node("job")
    swarm.states["h2"] = "down"
    assert pins(swarm).node("job") == "h2"
    assert pins(swarm, "h2").node("job") == "h1"
    swarm.states["h2"] = "ready"
    assert pins(swarm).node("job") == "h1"


@pytest.mark.parametrize("node", ["h2", "h9"])
def test_a_node_that_is_not_down_is_not_gone(swarm: Swarm, node: str) -> None:
    with pytest.raises(UsageError, match=f"cannot leave node {node}: "):
        pins(swarm, node).node("job")


def test_no_usable_node(swarm: Swarm) -> None:
    swarm.states = {"h1": "down", "h2": "ready"}
    swarm.drained = {"h2"}
    with pytest.raises(ConductorError, match="none is ready"):
        pins(swarm).node("job")
