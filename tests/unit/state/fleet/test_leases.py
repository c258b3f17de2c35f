"""The lease of one object, step by step; `test_races.py` has what several processes do at once."""

import contextlib

import msgspec
import pytest

from conductor.errors import LockHolder
from conductor.plan.lease import LEASE_SECONDS, Lease, LeaseLostError, Watch, lease_of, released, taken, written
from conductor.runtime.port import RuntimeUnavailable
from conductor.state.fleet.leases import Leases
from conductor.state.fleet.locks import is_shared
from tests.fakes.objects import FakeObjects
from tests.fakes.runtime import FakeClock

LEASE = Lease(token="t1", node="h1", pid=7, command="service upgrade", since="2026-01-01T00:00:00Z")
LATER = msgspec.structs.replace(LEASE, beat=1)


def test_values() -> None:
    values = taken({"wanted": "1", "waiter": "h2"}, LEASE)
    assert (lease_of(values), set(values)) == (LEASE, {"wanted", "lock"})
    changed = written(values, "t1", {"wanted": "", "journal": "2"})
    assert (lease_of(changed), changed["journal"], set(changed)) == (LATER, "2", {"journal", "lock"})
    for token in ("t2", ""):
        with pytest.raises(LeaseLostError):
            written(values, token, {})
        assert released(values, token) == values
    with pytest.raises(LeaseLostError):
        written({}, "", {})
    assert released(changed, "t1") == {"journal": "2"}
    assert str(LEASE.holder) == str(LockHolder(7, "service upgrade", "2026-01-01T00:00:00Z", node="h1"))


@pytest.mark.parametrize(
    ("reads", "expired", "renewed"),
    [
        ([(LEASE, 1.0), (LEASE, 2.0), (LEASE, 3.0), (LEASE, 4.0), (LEASE, 4.9)], False, False),
        ([(LEASE, 1.0), (LEASE, 2.0), (LEASE, 3.0), (LEASE, 4.0), (LEASE, 5.0)], True, False),
        ([(LEASE, 1.0), (LEASE, 2.0), (LATER, 3.0), (LATER, 4.0), (LATER, 5.0)], False, True),
        ([(LEASE, 30.0), (LEASE, 60.0)], False, False),  # whether it could be renewed in between is not known
        ([(LEASE, at / 2) for at in range(1, 11)], True, False),
    ],
)
def test_a_watch(reads: list[tuple[Lease, float]], expired: bool, renewed: bool) -> None:
    watch = Watch(LEASE, 0.0)
    for lease, at in reads:
        watch = watch.after(lease, at)
    assert (watch.is_expired, watch.renewed) == (expired, renewed)
    assert LEASE_SECONDS == 5.0


def leases(objects: FakeObjects, clock: FakeClock, name: str) -> Leases:
    return Leases(objects, clock, msgspec.structs.replace(LEASE, token="", node=name), in_background=False)


def test_a_lease_that_is_not_renewed_is_taken_and_its_first_holder_is_refused() -> None:
    objects, clock = FakeObjects(), FakeClock()
    one, other = leases(objects, clock, "h1"), leases(objects, clock, "h2")
    assert one.take("web") is None
    one.write("web", {"journal": "1"})
    for _ in range(6):
        assert (watch := other.take("web")) is not None
        assert (watch.lease.node, watch.renewed) == ("h1", False)
        clock.sleep(1.0)
    assert other.take("web") is None
    assert other.values("web")["journal"] == "1"
    with pytest.raises(LeaseLostError, match="process 7 on h2"):
        one.write("web", {"journal": "2"})
    one.release("web")
    current = other.current("web")
    assert current is not None
    assert current.node == "h2"


def test_a_lease_that_is_renewed_stays() -> None:
    objects, clock = FakeObjects(), FakeClock()
    one, other = leases(objects, clock, "h1"), leases(objects, clock, "h2")
    one.take("web")
    for _ in range(20):
        assert other.take("web") is not None
        clock.sleep(1.0)
        one.renew()
    one.release("web")
    assert other.take("web") is None


def test_a_lease_that_nobody_can_renew_stays() -> None:
    """A new leader answers reads for some seconds before it takes writes."""
    objects, clock = FakeObjects(), FakeClock()
    one, other = leases(objects, clock, "h1"), leases(objects, clock, "h2")
    one.take("web")
    objects.read_only = True
    for _ in range(20):
        one.renew()
        with contextlib.suppress(RuntimeUnavailable):
            assert other.take("web") is not None
        clock.sleep(0.5)
    objects.read_only = False
    for _ in range(7):  # more than the deadline of a call and the time to the next renewal
        assert other.take("web") is not None
        clock.sleep(0.5)
    one.renew()
    for _ in range(9):
        assert other.take("web") is not None
        clock.sleep(0.5)
    one.write("web", {"journal": "1"})


def test_a_renewal_that_fails_is_made_the_next_time() -> None:
    objects, clock = FakeObjects(), FakeClock()
    one = leases(objects, clock, "h1")
    one.take("web")
    objects.away = True
    one.renew()
    with pytest.raises(RuntimeUnavailable):
        one.write("web", {})
    objects.away = False
    one.renew()
    assert (lease_of(one.values("web")) or LEASE).beat == 1


def test_a_waiting_command_is_seen_at_the_next_renewal() -> None:
    objects, clock = FakeObjects(), FakeClock()
    one, other = leases(objects, clock, "h1"), leases(objects, clock, "h2")
    other.request("web")  # nothing to ask for
    assert other.values("web") == {}
    one.take("web")
    other.request("web")
    assert not one.is_requested("web")
    one.renew()
    assert one.is_requested("web")
    one.release("web")
    other.take("web")
    assert not other.is_requested("web")
    assert "waiter" not in other.values("web")


def test_no_lease_at_rest_is_written() -> None:
    objects, clock = FakeObjects(), FakeClock()
    one = leases(objects, clock, "h1")
    one.take("web")
    one.release("web")
    writes = objects.writes
    one.renew()
    assert one.current("web") is None
    assert objects.writes == writes


def test_which_locks_are_shared() -> None:
    names = ("web", "addresses", "nginx", "images.use", "supervise.loop", "history.rotation", "web.job", "web.job.next")
    assert [is_shared(name) for name in names] == [True, True, *[False] * 6]
