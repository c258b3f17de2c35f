"""An edge of a fleet whose `supervise` is stopped or killed at a step that it has to confirm."""

import contextlib
import subprocess
import time
from collections.abc import Iterator

import pytest

from conductor.errors import OperatorError
from tests.support.daemon_between import Fault
from tests.support.managers import NODES, Managers, fleet_managers

pytestmark = pytest.mark.long
STEPS = ("gate", "cutover", "drain")
STOPPED_SECONDS = 10.0
RIGHT_SECONDS = 2.0  # from the start of `supervise` to the right route
SITE = "/etc/nginx/conductor.d/shop.conf"
UNIT = "conductor-supervise"
EDGE, OTHERS = "h2", ("h1", "h3")


@pytest.fixture(scope="module")
def managers(images: None) -> Iterator[Managers]:
    with fleet_managers() as made:
        made.upgrade("h1", "r1")
        yield made


@pytest.fixture(autouse=True)
def supervised(managers: Managers) -> Iterator[None]:
    yield
    managers.machines[EDGE].run("systemctl", "kill", "--signal=CONT", UNIT, check=False)
    managers.machines[EDGE].run("systemctl", "start", UNIT)


@contextlib.contextmanager
def upgrade_at(managers: Managers, step: str, revision: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command on the edge right before it is asked to make a step of an upgrade; yield once that has been asked."""
    machine = managers.machines[EDGE]
    asked: list[float] = []

    def act() -> None:
        asked.append(time.monotonic())
        if len(asked) == 1:  # a request that is not answered in time is repeated
            machine.run(*words)

    with managers.watched("h1") as between:
        between.act_at(f"{step} shop", Fault("call", first=act))
        process = managers.spawn_watched("h1", "service", "upgrade", "--id", "shop", "--revision", revision)
        managers.machines["h1"].wait_for(lambda: asked or process.poll() is not None, f"the {step}", 120)
        assert asked, process.communicate()
        yield process


@pytest.mark.parametrize("step", STEPS)
def test_one_that_is_stopped_is_waited_for(managers: Managers, step: str) -> None:
    before = managers.live()
    revision = "r2" if before != "r2" else "r3"
    with managers.loads(*NODES) as loads:
        with upgrade_at(managers, step, revision, "systemctl", "kill", "--signal=STOP", UNIT) as process:
            try:
                with pytest.raises(subprocess.TimeoutExpired):
                    process.wait(STOPPED_SECONDS)
                assert managers.live() == (revision if step == "drain" else before)
            finally:
                managers.machines[EDGE].run("systemctl", "kill", "--signal=CONT", UNIT)
            _, err = process.communicate(timeout=120)
        results = [load.stop() for load in loads]
    assert (process.returncode, [one.lost for one in results]) == (0, [0, 0, 0]), (err, results)
    assert managers.left(revision) == []


@pytest.mark.parametrize("step", STEPS)
def test_one_that_is_killed_is_named_and_is_right_once_it_is_back(managers: Managers, step: str) -> None:
    before, machine = managers.live(), managers.machines[EDGE]
    revision, later = ("r4", "r5") if before not in {"r4", "r5"} else ("r6", "r7")
    words = ("sh", "-c", f"systemctl kill --signal=KILL {UNIT}; systemctl stop {UNIT}")
    with managers.loads(*OTHERS) as loads:
        with upgrade_at(managers, step, revision, *words) as process:
            _, err = process.communicate(timeout=180)
        committed = step == "drain"
        assert (process.returncode, f"edge {EDGE} " in err) == (OperatorError.exit_code if committed else 1, True), err
        assert f"--without-edge {EDGE}" in err
        assert managers.live() == (revision if committed else before)
        assert {managers.ask(node).revision for node in OTHERS} == {managers.live()}
        managers.upgrade("h3", later, "--without-edge", EDGE)
        assert {managers.ask(node).revision for node in OTHERS} == {later}
        results = [load.stop() for load in loads]
    assert [one.lost for one in results] == [0, 0], results
    machine.run("systemctl", "start", UNIT)
    began = time.time()
    machine.wait_for(lambda: managers.served(EDGE) == managers.served("h1"), "the edge is right", 60)
    seconds = float(machine.run("stat", "--format=%.3Y", SITE).stdout) - began
    print(f"right {seconds:.2f} s after supervise has started")
    assert seconds <= RIGHT_SECONDS
    managers.settle(later, 60)
