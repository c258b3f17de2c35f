"""`supervise pause`: what the wanted state then has."""

from pathlib import Path

from conductor.cancellation import SignalCancellation
from conductor.change.pause import pause, resume
from conductor.clock import Clock
from conductor.state.locks import Locks
from conductor.state.supervisor_status import NOT_RUNNING, SUPERVISE_LOCK
from tests.fakes.world import WEB, World


def test_a_pause_lasts_as_long_as_given_after_a_wait_for_the_lock(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": WEB})
    world.upgrade("r1")
    other = Locks(tmp_path / "run" / "locks", "service upgrade", Clock(), SignalCancellation())
    context, held = world.context(), other.hold("web")
    held.__enter__()
    wait = world.cancellation.wait

    def wait_and_release(seconds: float) -> None:
        wait(seconds)
        world.clock.advance(400.0)
        held.__exit__(None, None, None)

    world.cancellation.wait = wait_and_release  # type: ignore[method-assign]
    pause(context, "web", "maintenance", 300.0, 600.0)
    paused = world.store.wanted("web").paused
    assert paused is not None
    assert paused.until == world.clock.later(300.0)


def test_the_end_of_a_pause_names_a_supervise_that_is_not_running(tmp_path: Path) -> None:
    world = World(tmp_path, {"web": WEB})
    world.upgrade("r1")
    supervise = Locks(tmp_path / "run" / "locks", "supervise", Clock(), SignalCancellation())
    pause(world.context(), "web", "maintenance", None, 0.0)
    with supervise.hold(SUPERVISE_LOCK):
        assert resume(world.context(), "web", 0.0).text == "web is supervised again"
    pause(world.context(), "web", "maintenance", None, 0.0)
    finished = resume(world.context(), "web", 0.0)
    assert NOT_RUNNING in finished.text
    assert world.store.wanted("web").paused is None
