"""The steps of an upgrade beside the script that makes the same calls: by number of replicas, and by how long the app boots."""

from itertools import cycle

import pytest

from tests.benchmarks.by_hand import ByHand
from tests.benchmarks.figures import Figures
from tests.benchmarks.names import STEPS
from tests.benchmarks.timing import median, seconds_of, step_seconds
from tests.support.host import TestHost

PAIRS = 3


@pytest.mark.parametrize("boot", [0, 0.3, 3])
@pytest.mark.parametrize("replicas", [1, 2, 8])
def test_steps_against_the_script(images: None, figures: Figures, replicas: int, boot: float) -> None:
    name = f"upgrade, replicas: {replicas}, boot: {boot:g} s"
    with TestHost() as ours, TestHost() as theirs:
        ours.define({"web": {"count": replicas, "env": {"BOOT": str(boot)}}})
        by_hand = ByHand(theirs, replicas=replicas, boot=boot)
        revisions = {host: cycle(("r1", "r2")) for host in (ours, theirs)}
        figures.compare(
            name,
            lambda: seconds_of(ours, "upgrade", "--revision", next(revisions[ours])),
            lambda: by_hand.upgrade(next(revisions[theirs])),
            of="a script that makes the same calls",
            pairs=PAIRS,
        )
        for host in (ours, theirs):
            assert len(host.containers()) == replicas
        found = figures.found[name]
        figures.report(
            f"{STEPS}{name.removeprefix('upgrade, ')}", steps=step_seconds(ours, len(found["values"])), all=median(found["values"]),
            by_hand=median(found["floor_values"]),
        )  # fmt: skip
