"""Upgrades with a canary on a host in memory."""

from pathlib import Path
from typing import Any

import pytest

from conductor.change.upgrade import promote
from conductor.definitions.scalars import Percent, Period
from conductor.errors import ConductorError, Interrupted, UsageError
from conductor.output.events import Progress, StepStarted
from conductor.plan.canary import Comparison, Figures
from conductor.plan.history import Outcome
from conductor.plan.route import Split
from tests.fakes.traffic import FakeTraffic
from tests.fakes.world import WEB, World

CANARY = {"share": "20%", "for": "1m"}
BAD = Comparison(Figures(requests=900, errors=1, p95=0.1), Figures(requests=100, errors=7, p95=0.1))


def world_of(directory: Path, *, cutover: str = "live", **keys: Any) -> World:
    made = World(directory, {})
    made.define({"web": {**WEB, "canary": CANARY, **keys}}, nginx={"cutover": cutover})
    return made


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Two replicas of r1."""
    made = world_of(tmp_path)
    made.upgrade("r1")
    made.recorder.events.clear()
    made.traffic.given.clear()
    return made


def steps(world: World) -> list[str]:
    return [event.step for event in world.recorder.events if isinstance(event, StepStarted)]


def endpoints(world: World) -> set[str]:
    return {str(one.endpoint) for one in world.replicas()}


def splits(world: World) -> list[Split]:
    return list(dict.fromkeys(route.split for route in world.traffic.given if route.split))


def test_the_new_replicas_get_their_share_and_then_all(world: World) -> None:
    old, began = endpoints(world), world.clock.monotonic()
    world.upgrade("r2")
    assert steps(world) == ["start", "gate", "canary", "cutover", "commit", "drain", "retire", "history"]
    [split] = splits(world)
    assert (split.percent, set(split.endpoints)) == (20, endpoints(world))
    assert [set(one.endpoints) for one in world.traffic.given if one.split] == [old]
    assert world.clock.monotonic() - began >= 60
    assert world.traffic.splits == {}
    assert world.running() == {"r2": 2}
    progress = [event.text for event in world.recorder.events if isinstance(event, Progress) and event.step == "canary"]
    assert "1m left, 20% of requests for web: 0 requests to the new replicas, 0 failed" in progress


def test_a_bad_canary_is_rolled_back_with_its_figures(world: World) -> None:
    before, began = endpoints(world), world.clock.monotonic()
    world.traffic.comparisons["web"] = [Comparison(), Comparison(), BAD]
    with pytest.raises(ConductorError) as failed:
        world.upgrade("r2")
    assert "the canary for web failed: 7 of 100 requests (7.0%) to the new replicas failed" in failed.value.sentence
    assert world.clock.monotonic() - began < 10
    assert (world.running(), world.traffic.serving("web"), world.traffic.splits) == ({"r1": 2}, before, {})
    assert len(world.traffic.drained) == 1
    assert world.runtime.lost == []
    last = world.recorder.history[-1]
    assert (last.outcome, "7 of 100" in last.reason) == (Outcome.ROLLED_BACK, True)


def test_an_interruption_rolls_back(world: World) -> None:
    world.cancellation.stop_at = 60
    with pytest.raises(Interrupted):
        world.upgrade("r2")
    assert steps(world)[-2:] == ["canary", "rollback"]
    assert (world.running(), world.traffic.splits) == ({"r1": 2}, {})


def test_the_options_replace_the_keys(world: World) -> None:
    began = world.clock.monotonic()
    world.upgrade("r2", canary_share=Percent(5), canary_for=Period(10))
    assert [one.percent for one in splits(world)] == [5]
    assert 10 <= world.clock.monotonic() - began < 60
    world.upgrade("r3", canary_share=Percent(100))
    assert len(splits(world)) == 1


class Promoting(FakeTraffic):
    """An operator promotes the canary of `web` when it is compared for the third time."""

    world: World

    def compared(self, service: str) -> Comparison:
        if self.calls.count("compared") == 2:
            promote(self.world.context(), ["web"])
        return super().compared(service)


def test_an_operator_ends_it(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    world.traffic = world.runtime.traffic = traffic = Promoting()
    traffic.world = world
    world.upgrade("r1")
    began = world.clock.monotonic()
    world.upgrade("r2")
    assert world.running() == {"r2": 2}
    assert world.clock.monotonic() - began < 10


def test_there_is_nothing_to_promote(world: World) -> None:
    with pytest.raises(ConductorError) as refused:
        promote(world.context(), ["web"])
    assert refused.value.sentence == "cannot promote web: it has no canary in progress"


def test_a_killed_canary_is_not_promoted(world: World) -> None:
    """No process waits for it, and the next command rolls it back."""
    world.traffic.fail("compared", error=KeyboardInterrupt())
    world.traffic.fail("undo", error=SystemExit())
    with pytest.raises(SystemExit):
        world.upgrade("r2")
    with pytest.raises(ConductorError) as refused:
        promote(world.context(), ["web"])
    assert refused.value.sentence == "cannot promote web: it has no canary in progress"


class PromotingBoth(Promoting):
    """The operator names another service, too, which has no canary."""

    def compared(self, service: str) -> Comparison:
        if self.calls.count("compared") == 2:
            with pytest.raises(ConductorError):
                promote(self.world.context(), ["web", "api"])
        return FakeTraffic.compared(self, service)


def test_all_services_are_promoted_or_none(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    world.traffic = world.runtime.traffic = traffic = PromotingBoth()
    traffic.world = world
    world.upgrade("r1")
    began = world.clock.monotonic()
    world.upgrade("r2")
    assert world.clock.monotonic() - began >= 60


def test_new_replicas_are_compared_until_the_last_canary_of_a_change_ends(tmp_path: Path) -> None:
    """They keep their share while another service of the change waits longer."""
    world = World(tmp_path, {})
    services = {"api": {**WEB, "canary": {**CANARY, "for": "5m"}}, "web": {**WEB, "canary": CANARY}}
    world.define(services, nginx={"cutover": "live"})
    world.upgrade("r1")
    world.traffic.comparisons["web"] = [Comparison()] * 150 + [BAD]
    with pytest.raises(ConductorError) as failed:
        world.upgrade("r2")
    assert "the canary for web failed" in failed.value.sentence
    assert (world.running("api"), world.running("web")) == ({"r1": 2}, {"r1": 2})


def test_without_a_new_replica_there_is_no_canary(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    world.upgrade("r1")
    world.define({"web": {**WEB, "count": 0, "canary": CANARY}}, nginx={"cutover": "live"})
    world.recorder.events.clear()
    world.upgrade("r2")
    assert "canary" not in steps(world)


def test_without_an_old_replica_there_is_no_canary(tmp_path: Path) -> None:
    world = world_of(tmp_path)
    world.upgrade("r1")
    assert "canary" not in steps(world)


@pytest.mark.parametrize(
    ("cutover", "keys", "options", "words"),
    [
        ("reload", {}, {}, "this needs host.nginx.cutover: live"),
        ("live", {"canary": None, "order": "stop-first", "count": 1}, {"canary_share": Percent(10)}, "stop-first"),
    ],
)
def test_what_cannot_have_a_canary(
    tmp_path: Path, cutover: str, keys: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    world = world_of(tmp_path, cutover=cutover, **keys)
    world.upgrade("r1", canary_share=Percent(100))
    with pytest.raises(UsageError) as refused:
        world.upgrade("r2", **options)
    assert words in refused.value.sentence
    assert world.running() == {"r1": world.definitions.service("web").service.count}


def group_of(directory: Path) -> World:
    """`api` has a canary, `web` has none; both run r1."""
    world = World(directory, {})
    services = {"api": {**WEB, "canary": CANARY}, "web": WEB}
    world.define(services, nginx={"cutover": "live"})
    world.upgrade("r1")
    return world


@pytest.mark.parametrize("nth", [1, 2])
def test_a_rollback_that_failed_between_the_services_of_a_change_is_finished(tmp_path: Path, nth: int) -> None:
    """Only one of them had a canary, so two cutovers are undone."""
    world = group_of(tmp_path)
    before = dict(world.traffic.routes)
    world.traffic.fail("switch", 2, at="after")
    world.traffic.fail("undo", nth)
    with pytest.raises(ConductorError):
        world.upgrade("r2")
    world.recover(["api", "web"])
    assert (world.traffic.routes, world.traffic.splits) == (before, {})
    assert (world.running("api"), world.running("web")) == ({"r1": 2}, {"r1": 2})
    assert world.runtime.lost == []
