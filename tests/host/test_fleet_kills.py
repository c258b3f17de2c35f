"""An upgrade of a fleet that is killed at each of its writes is recovered by a command on another manager, or by `supervise`."""

import itertools
from collections.abc import Iterator

import pytest

from tests.support.daemon_between import Fault
from tests.support.managers import NODES, Managers, fleet_managers

pytestmark = pytest.mark.long
# In their order. The edges are asked to check, to pass the gate, to switch and to drain.
WRITES = (
    "lock shop", "check shop", "journal shop", "addresses addresses", "create", "create 2", "start", "start 2",
    "journal shop 4", "journal shop 5", "gate shop", "journal shop 6", "cutover shop", "journal shop 7", "wanted shop",
    "drain shop", "journal shop 9", "stop", "stop 2", "record the exit", "remove", "remove 2", "addresses addresses 2",
    "history shop", "journal shop 11", "unlock shop",
)  # fmt: skip
REVISIONS = itertools.cycle(("r2", "r3", "r4", "r5", "r1"))
RECOVERY_SECONDS = 120.0


@pytest.fixture(scope="module")
def managers(images: None) -> Iterator[Managers]:
    with fleet_managers() as made:
        made.upgrade("h1", "r1")
        with made.watched("h1") as between:
            process = made.spawn_watched("h1", "service", "upgrade", "--id", "shop", "--revision", "r2")
            _, err = process.communicate(timeout=180)
            print(list(between.writes))
        assert (process.returncode, [one for one in WRITES if one not in between.writes]) == (0, []), err
        yield made


@pytest.mark.parametrize("recovery", ["command", "supervise"])
@pytest.mark.parametrize("write", WRITES)
def test_a_kill(managers: Managers, write: str, recovery: str) -> None:
    """The write is the last thing that the deployer does."""
    live = managers.live()
    revision, later = (next(one for one in REVISIONS if one != live) for _ in range(2))
    committed = WRITES.index(write) >= WRITES.index("wanted shop")
    with managers.loads(*NODES) as loads:
        with managers.watched("h1") as between:
            between.act_at(write, Fault("kill", done=True))
            process = managers.spawn_watched("h1", "service", "upgrade", "--id", "shop", "--revision", revision)
            _, err = process.communicate(timeout=180)
        assert process.returncode == 137, (err, between.writes)
        if recovery == "command":
            managers.upgrade("h2", later)
            assert managers.left(later) == []
        else:
            managers.settle(revision if committed else live, RECOVERY_SECONDS)
        results = [load.stop() for load in loads]
    assert [one.lost for one in results] == [0, 0, 0], results
