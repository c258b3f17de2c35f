"""A write whose response was lost is found, and one that another manager replaced is not taken for it."""

from typing import Any, cast

from conductor.runtime.swarm.api import SwarmApi
from conductor.runtime.swarm.objects import SwarmObjects
from conductor.state.fleet.objects import StoredObject


class Configs:
    """One config. With `lost`, a write succeeds, and its repetition is refused."""

    def __init__(self) -> None:
        self.found: dict[str, Any] | None = None
        self.lost = False

    def config(self, _: str) -> dict[str, Any] | None:
        return self.found

    def create_config(self, spec: dict[str, Any]) -> bool:
        if self.found is not None:
            return False
        self.found = {"ID": "c1", "Version": {"Index": 1}, "Spec": spec}
        return not self.lost

    def update_config(self, config: str, version: int, spec: dict[str, Any]) -> bool:
        if self.found is None or self.found["Version"]["Index"] != version:
            return False
        self.found = {"ID": config, "Version": {"Index": version + 1}, "Spec": spec}
        return not self.lost


def read(objects: SwarmObjects) -> StoredObject:
    found = objects.read("web")
    assert found is not None
    return found


def test_a_lost_response() -> None:
    configs = Configs()
    objects = SwarmObjects(cast("SwarmApi", configs), "default")
    configs.lost = True
    assert objects.create("web", {"count": "1"})
    before = read(objects)
    assert objects.write(before, {"count": "2"})
    assert read(objects).values == {"count": "2"}
    assert not objects.write(before, {"count": "2"})  # the same values, of another write
    assert not objects.create("web", {"count": "2"})


def test_names_and_labels() -> None:
    configs = Configs()
    objects = SwarmObjects(cast("SwarmApi", configs), "default")
    objects.create("w" * 63, {"wanted": "1"})
    assert configs.found is not None
    spec = configs.found["Spec"]
    assert len(spec["Name"]) <= 64
    assert spec["Data"]
    del spec["Labels"]["conductor.write"]
    assert spec["Labels"] == {
        "conductor.instance": "default",
        "conductor.object": "w" * 63,
        "conductor.value.wanted": "1",
    }
