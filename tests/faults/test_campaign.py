"""Killed at every point of an action, every request to Docker answered badly, every write refused: one release serves, and
nothing is left.
"""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.faults import results
from tests.faults.campaign import Campaign, Point
from tests.faults.scenarios import SCENARIOS

pytestmark = pytest.mark.both_ways
KINDS = {
    "kills": Campaign.kills,
    "daemon": Campaign.daemon_faults,
    "hangs": Campaign.hangs,
    "disk": Campaign.disk_faults,
}
HANGING = ("upgrade of a web service", "repair")  # each takes a minute
SHORT = {"upgrade of a web service": 6, "upgrade with order: stop-first": 4}  # faults of each kind without `long`
MOST = int(os.environ.get("CONDUCTOR_FAULTS", "100000"))  # of a campaign with `long`


def cases() -> Iterator[object]:
    for kind in KINDS:
        for name, faults in SHORT.items():
            if kind != "hangs":
                yield pytest.param(kind, name, faults, id=f"short-{_word(name)}-{kind}")
        for name in SCENARIOS:
            if kind != "hangs" or name in HANGING:
                yield pytest.param(kind, name, MOST, id=f"{_word(name)}-{kind}", marks=pytest.mark.long)


def _word(name: str) -> str:
    return name.replace(":", "").replace(" ", "-")


@pytest.mark.parametrize(("kind", "name", "most"), [*cases()])
def test_one_release_serves_and_nothing_is_left(images: None, cutover: str, kind: str, name: str, most: int) -> None:
    find: Callable[[Campaign], Iterator[Point]] = KINDS[kind]
    with Campaign(SCENARIOS[name], cutover) as campaign:
        points = list(find(campaign))
        campaign.clients.begin()
        chosen = min(most, len(points))
        for number in range(chosen):
            campaign.try_point(points[number * len(points) // chosen], kills=kind == "kills")
        tally, clients = campaign.tally, campaign.clients
        allowed = max(2, tally.tried / 10)
        if len(missed := tally.missed) > allowed:
            # The longer an action waits, the more often it lists containers: some places exist only on a busy machine.
            again = {point.place for point in find(campaign)}
            missed = [place for place in missed if place in again]
    print(f"\n{name}, {cutover}, {kind}: {tally}, {clients}")
    if most == MOST and os.environ.get("CONDUCTOR_RECORD"):
        results.record(kind, f"{name}, {cutover}", tally, clients, possible=len(points))
    assert tally.failures == []
    assert clients.losses == []
    assert len(missed) <= allowed, missed
