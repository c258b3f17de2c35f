"""The state of a fleet: what one manager writes, every other one reads; it is written under its lock only."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from conductor.errors import ConductorError
from conductor.plan.addresses import Addresses
from conductor.plan.journal import Journal
from conductor.plan.lease import Lease, LeaseLostError
from conductor.plan.release import Hold, Wanted
from conductor.state.fleet.leases import Leases
from conductor.state.fleet.store import FleetStore
from tests.fakes.objects import FakeObjects
from tests.fakes.runtime import FakeClock

WANTED = Wanted(service="web", scale=3, paused=Hold(reason="a reason", who="jo", since="2026-01-01T00:00:00Z"))
JOURNAL = Journal(
    change="c1", service="web", action="upgrade", command="upgrade", who="jo", began="", old=WANTED, new=WANTED
)


class Manager:
    """One of several, with files of its own."""

    def __init__(self, objects: FakeObjects, directory: Path, name: str) -> None:
        like = Lease(token="", node=name, pid=1, command="upgrade", since="")
        self.leases = Leases(objects, FakeClock(), like, in_background=False)
        self.store = FleetStore(directory / name, objects, self.leases)


@pytest.fixture
def objects() -> FakeObjects:
    return FakeObjects()


@pytest.fixture
def managers(objects: FakeObjects) -> Iterator[tuple[Manager, Manager]]:
    with tempfile.TemporaryDirectory() as made:
        yield Manager(objects, Path(made), "h1"), Manager(objects, Path(made), "h2")


def test_a_change(managers: tuple[Manager, Manager]) -> None:
    one, other = managers
    assert other.store.wanted("web") == Wanted(service="web")
    assert (other.store.services(), other.store.in_progress(), other.store.known_services()) == ((), (), ())
    one.leases.take("web")
    one.store.write_journal(JOURNAL)
    assert other.store.journal("web") == JOURNAL
    assert (other.store.services(), other.store.in_progress(), other.store.known_services()) == ((), ("web",), ("web",))
    before = other.store.stamp("web"), other.store.stamp_of_all()
    one.store.write_wanted(WANTED)
    one.store.remove_journal("web")
    assert (other.store.wanted("web"), other.store.journal("web")) == (WANTED, None)
    assert other.store.stamp("web") != before[0]
    assert other.store.stamp_of_all() != before[1]
    assert (other.store.services(), other.store.in_progress()) == (("web",), ())
    stamp = other.store.stamp_of_all()
    one.leases.renew()
    assert other.store.stamp_of_all() == stamp


def test_only_the_holder_of_the_lock_writes(managers: tuple[Manager, Manager], objects: FakeObjects) -> None:
    one, other = managers
    one.leases.take("web")
    one.store.write_wanted(WANTED)
    for write in (lambda: other.store.write_wanted(Wanted(service="web")), lambda: other.store.write_journal(JOURNAL)):
        with pytest.raises(
            LeaseLostError, match=r"^cannot continue: another manager has taken the lock: process 1 on h1"
        ):
            write()
    one.leases.release("web")
    with pytest.raises(LeaseLostError):
        one.store.write_wanted(Wanted(service="web"))
    writes = objects.writes
    assert other.leases.take("web") is None
    assert (other.store.wanted("web"), objects.writes) == (WANTED, writes + 1)


def test_keys_of_a_newer_version_stay(managers: tuple[Manager, Manager]) -> None:
    one, other = managers
    one.leases.take("web")
    one.leases.write("web", {"wanted": '{"service": "web", "version": 1, "later": 7}', "later": "stays"})
    one.store.write_wanted(WANTED)
    values = other.leases.values("web")
    assert msgspec.json.decode(values["wanted"])["later"] == 7
    assert values["later"] == "stays"


@pytest.mark.parametrize("text", ['{"version": 2}', "{"])
def test_a_newer_or_damaged_state_is_refused(managers: tuple[Manager, Manager], text: str) -> None:
    one, other = managers
    one.leases.take("web")
    one.leases.write("web", {"wanted": text})
    with pytest.raises(ConductorError, match=r"^cannot read the desired state of web: "):
        other.store.wanted("web")


def test_addresses_and_the_key_of_digests_are_those_of_the_fleet(managers: tuple[Manager, Manager]) -> None:
    one, other = managers
    assert (other.store.addresses(), other.store.digest_key()) == (Addresses(), None)
    one.leases.take("addresses")
    one.store.write_addresses(Addresses(reserved={":21000": "c1"}))
    key = one.store.make_digest_key()
    assert (len(key), one.store.make_digest_key(), other.store.digest_key()) == (32, key, key)
    assert other.store.addresses() == Addresses(reserved={":21000": "c1"})
    assert other.store.services() == other.store.known_services() == ()


def test_files_of_a_host_stay_its_own(managers: tuple[Manager, Manager]) -> None:
    one, other = managers
    one.store.write_collected("2026-01-01T00:00:00Z")
    assert (one.store.collected(), other.store.collected()) == ("2026-01-01T00:00:00Z", "")
