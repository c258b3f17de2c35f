"""kill -9 at any moment of an upgrade under load: the next command recovers the change, and no request is lost."""

import contextlib
import random
import subprocess
import time
from collections import Counter
from itertools import cycle

import pytest

from tests.support.aftermath import QUICK, nothing_left_behind
from tests.support.host import TestHost, merged
from tests.support.images import REVISIONS

pytestmark = pytest.mark.both_ways

SEED = 20
# Each part of an upgrade in turn, so that few rounds cover all of it; and how far into it a kill comes at the latest.
AIMS = {"before it began": 0.15, "starting": 0.6, "switching": 0.15, "committed": 0.1}
SWITCHING = {"reload": 0.15, "live": 0.01}  # a live cutover takes some milliseconds
SERVICE = merged(QUICK, {"count": 2, "health": {"start_timeout": "20s"}, "nginx": {"drain": "15s"}})


@pytest.mark.parametrize("rounds", [8, pytest.param(50, marks=pytest.mark.long)])
def test_killed_at_random_moments(host: TestHost, rounds: int) -> None:
    chance, reached, told = random.Random(SEED), Counter[str](), []
    host.define({"web": SERVICE})
    host.upgrade("r1", check=True)
    revisions = cycle(REVISIONS[1:])
    with host.load(busy=5, idle=5) as load:
        aims = AIMS | {"switching": SWITCHING[host.cutover]}
        for turn, (aim, longest) in zip(range(rounds), cycle(aims.items()), strict=False):
            killed, following = next(revisions), next(revisions)
            upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", killed)
            while upgrade.running() and stage(host, killed) != aim:
                time.sleep(0.002)
            moment = chance.uniform(0, longest)
            with contextlib.suppress(subprocess.TimeoutExpired):
                upgrade.process.wait(moment)
            where = stage(host, killed) if upgrade.kill().code else "done"
            reached[where] += 1
            result = host.upgrade(following)
            told.append(
                f"round {turn}, {killed} killed {moment:.3f} s into {aim} ({where}), {load.so_far()['lost']} lost"
            )
            assert result.code == 0, f"{told[-1]}: {result}"
            nothing_left_behind(host, following, count=2)
        counted = load.stop()
    print(counted, dict(reached), *told, sep="\n")
    assert counted.lost == 0, "\n".join([str(counted), *told, *map(str, counted.told[:20])])
    assert set(counted.revisions) <= set(REVISIONS)
    assert AIMS.keys() <= reached.keys(), f"not all of it: {reached}"


def stage(host: TestHost, revision: str) -> str:
    """Return the last stage that the upgrade reached, by the files it left."""
    wanted, journal = host.wanted(), host.journal()
    if journal is None:
        return "done" if wanted and wanted["release"]["revision"] == revision else "before it began"
    if wanted and wanted["change"] == journal["change"]:
        return "committed"
    return "starting" if journal.get("cutover") is None else "switching"


def test_each_recovery_is_killed_too(host: TestHost) -> None:
    """Each command recovers the change of the one before it, and may be killed while it does."""
    chance = random.Random(SEED)
    host.define({"web": SERVICE})
    host.upgrade("r1", check=True)
    with host.load(busy=5, idle=5) as load:
        longest = host.upgrade("r2", check=True).seconds
        for revision in REVISIONS[2:5]:
            upgrade = host.spawn("service", "upgrade", "--id", "web", "--revision", revision)
            with contextlib.suppress(subprocess.TimeoutExpired):
                upgrade.process.wait(chance.uniform(0.4, 1.0) * longest)
            upgrade.kill()
        host.upgrade("r9", check=True)
        counted = load.stop()
    print(counted)
    assert counted.lost == 0, f"{counted}\n{counted.told[:20]}"
    nothing_left_behind(host, "r9", count=2)
