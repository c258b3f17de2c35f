"""Killed at every point of an action, every request to Docker answered badly, every write refused: one release serves, and
nothing is left.
"""

import contextlib
import os
from collections.abc import Callable, Iterator

import pytest

from tests.faults import results
from tests.faults.campaign import SCENARIOS, Campaign, Point
from tests.support.load import Load

pytestmark = pytest.mark.both_ways
KINDS = {"kills": Campaign.kills, "daemon": Campaign.daemon_faults, "disk": Campaign.disk_faults}
SHORT = {"upgrade of a web service": 10, "upgrade with order: stop-first": 6}  # points of each kind without `long`
ALL = 100_000


def cases() -> Iterator[object]:
    for name, points in SHORT.items():
        yield pytest.param(name, points, id=f"{points}-points-{_word(name)}")
    for name in SCENARIOS:
        yield pytest.param(name, ALL, id=_word(name), marks=pytest.mark.long)


def _word(name: str) -> str:
    return name.replace(":", "").replace(" ", "-")


@pytest.mark.parametrize(("name", "most"), [*cases()])
@pytest.mark.parametrize("kind", KINDS)
def test_one_release_serves_and_nothing_is_left(images: None, cutover: str, name: str, most: int, kind: str) -> None:
    find: Callable[[Campaign], Iterator[Point]] = KINDS[kind]
    with Campaign(SCENARIOS[name], cutover) as campaign, contextlib.ExitStack() as stack:
        points = list(find(campaign))
        is_routed = (
            "web" in campaign.scenario.ids and not campaign.scenario.repairs
        )  # which begin with a killed replica
        load = stack.enter_context(Load(campaign.host.url(), busy=3, idle=3)) if is_routed else None
        for point in points[:: max(1, len(points) // most)]:
            campaign.try_point(point, load)
        counted = load.stop() if load is not None else None
    tally = campaign.tally
    requests, lost = (counted.answered, counted.lost) if counted is not None else (0, 0)
    print(f"\n{name}, {cutover}: {tally}, {counted}\n{counted.told if counted is not None else ''}")
    if most == ALL and os.environ.get("CONDUCTOR_RECORD"):
        numbers = {
            "points": tally.tried,
            "survived": tally.tried - len(tally.failures),
            "requests": requests,
            "lost": lost,
        }
        results.record(f"{name}, {cutover}: {kind}", numbers)
    assert tally.failures == []
    assert lost == 0
    assert tally.reached >= 0.9 * tally.tried  # the longer an action waits, the more often it lists containers
