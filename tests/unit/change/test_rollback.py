"""How long new replicas get to stop when a change is rolled back, and what is reported meanwhile."""

import time
from pathlib import Path

import pytest

from conductor.change.parallel import POLL_SECONDS
from conductor.change.progress import REPEAT_SECONDS
from conductor.change.rollback import DRAINED_GRACE_SECONDS
from conductor.errors import ConductorError
from conductor.output.events import Progress, StepFinished, StepStarted
from tests.fakes.runtime import Behaviour
from tests.fakes.world import WEB, WORKER, World

GRACE = 40.0


@pytest.mark.parametrize(
    ("definition", "seconds"),
    [
        ({**WORKER, "stop": {"grace": "40s"}}, GRACE),  # it may have taken a job
        ({**WORKER, "order": "stop-first", "stop": {"grace": "40s"}}, GRACE),
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


@pytest.mark.parametrize(
    ("step", "text"),
    [
        ("rollback", "waiting for 1 replica to stop, grace period 40s"),
        ("hook", "stopping before_upgrade for one, grace period 40s"),
    ],
)
def test_a_slow_stop_is_reported_all_the_time(tmp_path: Path, step: str, text: str) -> None:
    world = World(
        tmp_path, {"one": {**WORKER, "stop": {"grace": "40s"}, "before_upgrade": {"command": ["bin/migrate"]}}}
    )
    world.upgrade("r1")
    world.recorder.events.clear()
    if step == "hook":
        world.runtime.behave("r2", Behaviour(), kind="hook")  # it does not end
    stop = world.runtime.stop

    def stop_slowly(container: str, grace_seconds: float) -> bool:
        for _ in range(4):
            world.clock.advance(REPEAT_SECONDS)
            time.sleep(1.5 * POLL_SECONDS)
        return stop(container, grace_seconds)

    world.runtime.stop = stop_slowly  # type: ignore[method-assign]
    world.health.unhealthy.add("r2")
    with pytest.raises(ConductorError):
        world.upgrade("r2")
    shown = [event.text for event in world.recorder.events if isinstance(event, Progress) and event.step == step]
    assert shown[-3:] == [text] * 3


def test_a_rollback_is_a_step_of_its_own(tmp_path: Path) -> None:
    """Otherwise a terminal would show the step that has failed during the whole rollback."""
    world = World(tmp_path, {"one": WORKER})
    world.health.unhealthy.add("r1")
    with pytest.raises(ConductorError):
        world.upgrade("r1")
    events = world.recorder.events
    started = [event for event in events if isinstance(event, StepStarted)][-1]
    assert (started.step, started.text) == ("rollback", "roll back the upgrade of one")
    assert [event.step for event in events if isinstance(event, StepFinished)][-1] == "rollback"
