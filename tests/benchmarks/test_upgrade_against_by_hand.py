"""An upgrade against a hand-written script that makes the same calls: both in turns, in one run, as whole processes.

Two replicas, boot 0.3 s, announce 500 ms, no load.
"""

from itertools import cycle

import pytest

from tests.benchmarks.by_hand import ByHand
from tests.benchmarks.figures import Figures
from tests.benchmarks.timing import seconds_of
from tests.support.host import TestHost


@pytest.mark.short
def test_against_the_script(images: None, figures: Figures) -> None:
    with TestHost() as ours, TestHost() as theirs:
        ours.define({"web": {}})
        by_hand = ByHand(theirs)
        revisions = {host: cycle(("r1", "r2")) for host in (ours, theirs)}

        def upgrade() -> float:
            revision = next(revisions[ours])
            seconds = seconds_of(ours, "upgrade", "--revision", revision)
            assert ours.get().revision == revision
            return seconds

        def script() -> float:
            revision = next(revisions[theirs])
            seconds = by_hand.upgrade(revision)
            assert theirs.get().revision == revision
            return seconds

        figures.compare(
            "upgrade of 2 replicas", upgrade, script, of="a script that makes the same calls", pairs=7, short_pairs=3
        )
