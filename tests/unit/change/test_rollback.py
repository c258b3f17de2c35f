"""How long new replicas get to stop when a change is rolled back."""

from pathlib import Path

import pytest

from conductor.change.rollback import DRAINED_GRACE_SECONDS
from conductor.errors import ConductorError
from tests.fakes.world import WEB, WORKER, World

GRACE = 40.0


@pytest.mark.parametrize(
    ("definition", "seconds"),
    [
        ({**WORKER, "stop": {"grace": "40s"}}, GRACE),  # it may have taken a job
        ({**WEB, "stop": {"grace": "40s"}}, DRAINED_GRACE_SECONDS),
        ({**WEB, "nginx": None, "stop": {"grace": "40s"}}, GRACE),  # others may send it requests directly
        ({**WEB, "stop": {"grace": "2s"}}, 2.0),
    ],
)
def test_the_grace_of_new_replicas(tmp_path: Path, definition: dict[str, object], seconds: float) -> None:
    world = World(tmp_path, {"one": definition})
    world.upgrade("r1")
    write = world.store.write_wanted

    def fail(_wanted: object) -> None:
        raise ConductorError("cannot write: no space")

    world.store.write_wanted = fail  # type: ignore[method-assign]
    with pytest.raises(ConductorError):
        world.upgrade("r2")
    world.store.write_wanted = write  # type: ignore[method-assign]
    assert {grace for _, grace in world.runtime.called("stop")} == {seconds}
    assert list(world.running("one")) == ["r1"]
