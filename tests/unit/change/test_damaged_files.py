"""The hint for a damaged state file: what it tells an operator to run works, and loses only what it names."""

from collections.abc import Callable
from pathlib import Path

import pytest

from conductor.change import actions
from conductor.errors import ConductorError, LockYielded
from conductor.plan.addresses import Addresses
from conductor.plan.garbage import PulledImages
from conductor.state.notifications import NotificationRecords
from tests.fakes.world import WEB, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path, {"web": WEB})
    made.upgrade("r1")
    return made


def damage(world: World, name: str, read: Callable[[], object]) -> str:
    """Damage a state file, and remove it, as the hint says; return the hint."""
    path = world.directory / "state" / name
    path.write_text("{")
    with pytest.raises(ConductorError) as refused:
        read()
    assert f"rm {path}" in refused.value.hint
    path.unlink()
    return refused.value.hint


def test_without_its_wanted_state_a_service_is_upgraded_without_a_lost_request(world: World) -> None:
    hint = damage(world, "services/web.json", lambda: world.store.wanted("web"))
    assert "conductor service upgrade --id web --revision REV" in hint
    world.upgrade("r2")
    assert (world.running(), world.runtime.lost, len(world.traffic.routes["web"])) == ({"r2": 2}, [], 2)


@pytest.mark.parametrize("at", ["recorded", "after"])
def test_without_its_journal_start_returns_to_the_live_release(world: World, at: str) -> None:
    """The upgrade was killed before or after the traffic was switched."""
    world.traffic.fail("switch", 1, LockYielded(), at=at)
    with pytest.raises(LockYielded):
        world.upgrade("r2")
    assert world.running() == {"r1": 2, "r2": 2}
    hint = damage(world, "journal/web.json", lambda: world.store.journal("web"))
    assert "conductor service start --id web" in hint
    world.perform(actions.start)
    assert (world.running(), world.runtime.lost) == ({"r1": 2}, [])
    assert set(world.traffic.routes["web"]) == {one.endpoint for one in world.replicas()}


def test_without_the_addresses_no_address_in_use_is_given_out(world: World) -> None:
    damage(world, "addresses.json", world.store.addresses)
    assert world.store.addresses() == Addresses()
    world.upgrade("r2")
    assert (world.running(), world.runtime.lost) == ({"r2": 2}, [])


@pytest.mark.parametrize(
    ("name", "read", "empty"),
    [
        ("images/web.json", lambda world: world.store.pulled("web"), PulledImages(service="web")),
        ("jobs/web/k.json", lambda world: world.store.job("web", "k"), None),
        ("gc.json", lambda world: world.store.collected(), ""),
        ("reported.json", lambda world: NotificationRecords(world.store.directory).reported(), {}),
        ("notify/web.json", lambda world: NotificationRecords(world.store.directory).delivery_failure("web"), None),
    ],
)
def test_the_others_can_be_removed(world: World, name: str, read: Callable[[World], object], empty: object) -> None:
    (world.directory / "state" / name).parent.mkdir(parents=True, exist_ok=True)
    damage(world, name, lambda: read(world))
    assert read(world) == empty
