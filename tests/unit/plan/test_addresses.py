"""Addresses: a table of reservations, and the property that no address is given out twice."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.definitions.host import Host, HostFleet, Network
from conductor.definitions.model import Service
from conductor.errors import ConductorError
from conductor.plan.addresses import Addresses, is_at, located, reserve
from conductor.plan.replica import Replica

HOST = Host(network=Network(subnet="10.9.0.0/28", tasks="10.9.0.8/29"))  # .2 to .7 are for replicas
FLEET = Host(network=HOST.network, fleet=HostFleet(ports=(21000, 21003)))
WEB = Service(image="app", port=80)
PUBLISHED = Service(image="app", port=80, publish=(21000, 21005))
WORKER = Service(image="app")


@pytest.mark.parametrize(
    ("book", "service", "used", "count", "expected"),
    [
        pytest.param(Addresses(), WEB, [], 2, ("10.9.0.2:80", "10.9.0.3:80"), id="from the start of the range"),
        pytest.param(
            Addresses(cursor={"10.9.0.0/28": "10.9.0.3:80"}), WEB, [], 2, ("10.9.0.4:80", "10.9.0.5:80"),
            id="after the cursor",
        ),
        pytest.param(
            Addresses(cursor={"10.9.0.0/28": "10.9.0.6:80"}), WEB, [], 2, ("10.9.0.7:80", "10.9.0.2:80"),
            id="the cursor wraps around",
        ),
        pytest.param(
            Addresses(cursor={"10.9.0.0/28": "10.9.9.9:80"}), WEB, [], 1, ("10.9.0.2:80",),
            id="a cursor outside the range is ignored",
        ),
        pytest.param(
            Addresses(), WEB, ["10.9.0.2", "10.9.0.3:8080"], 1, ("10.9.0.4:80",), id="an IP in use at any port is skipped"
        ),
        pytest.param(
            Addresses(reserved={"10.9.0.2:99": "c"}), WEB, [], 1, ("10.9.0.3:80",), id="reserved at another port"
        ),
        pytest.param(Addresses(), PUBLISHED, ["127.0.0.1:21000"], 1, ("127.0.0.1:21001",), id="a published port"),
        pytest.param(Addresses(), WORKER, ["10.9.0.2:80"], 1, ("10.9.0.3",), id="a service without a port"),
        pytest.param(Addresses(), WEB, [], 0, (), id="none"),
    ],
)  # fmt: skip
def test_reserve(book: Addresses, service: Service, used: list[str], count: int, expected: tuple[str, ...]) -> None:
    after, reserved = reserve(book, service, HOST, change="c1", count=count, used=used)
    assert reserved == expected
    assert after.reserved == {**book.reserved, **dict.fromkeys(expected, "c1")}
    assert not expected or expected[-1] in after.cursor.values()


@pytest.mark.parametrize(
    ("book", "service", "used", "count", "expected"),
    [
        (Addresses(), WEB, [], 2, (":21000", ":21001")),
        (Addresses(cursor={"fleet:21000-21003": ":21002"}), WORKER, [], 2, (":21003", ":21000")),
        (Addresses(reserved={":21000": "c"}), WEB, [":21001"], 1, (":21002",)),
        (Addresses(), WEB, ["10.9.0.7:21000", "10.213.15.1"], 1, (":21001",)),  # an edge still knows the port
    ],
)
def test_reserve_on_a_fleet(
    book: Addresses, service: Service, used: list[str], count: int, expected: tuple[str, ...]
) -> None:
    assert reserve(book, service, FLEET, change="c1", count=count, used=used)[1] == expected


def test_a_full_range_of_a_fleet() -> None:
    with pytest.raises(ConductorError, match="cannot reserve 4 addresses in fleet:21000-21003: only 3 of 4 free"):
        reserve(Addresses(), WEB, FLEET, change="c", count=4, used=["10.9.0.7:21000"])


def test_where_replicas_are() -> None:
    replica = Replica(
        id="a", name="a", service="web", revision="", release="", change="", address="10.9.0.7:21001", state="running"
    )
    waits = msgspec.structs.replace(replica, address=":21002", state="created")
    reserved = (":21000", ":21001", ":21002")
    assert located(reserved, [replica, waits]) == (":21000", "10.9.0.7:21001", ":21002")
    assert located(("10.9.0.2:80",), []) == ("10.9.0.2:80",)


@pytest.mark.parametrize(
    ("address", "reserved", "expected"),
    [
        ("10.9.0.7:21001", ":21001", True),
        ("10.9.0.7:21002", ":21001", False),
        ("10.9.0.2:80", "10.9.0.2:80", True),
        ("110.9.0.2:80", "10.9.0.2:80", False),
        ("10.9.0.2", "10.9.0.2", True),
    ],
)
def test_is_at(address: str, reserved: str, expected: bool) -> None:
    assert is_at(address, reserved) is expected


def test_each_range_has_its_own_cursor() -> None:
    book, _ = reserve(Addresses(), WEB, HOST, change="c1", count=1, used=[])
    book, _ = reserve(book, PUBLISHED, HOST, change="c2", count=2, used=[])
    assert book.cursor == {"10.9.0.0/28": "10.9.0.2:80", "publish:21000-21005": "127.0.0.1:21001"}


def test_services_with_different_ports_share_the_cursor_of_the_network() -> None:
    given = []
    book = Addresses()
    for number, service in enumerate((WEB, WORKER, Service(image="app", port=8080), WEB)):
        book, reserved = reserve(book, service, HOST, change=str(number), count=1, used=[])
        book = book.released(str(number))
        given += reserved
    assert given == ["10.9.0.2:80", "10.9.0.3", "10.9.0.4:8080", "10.9.0.5:80"]


def test_a_full_range_is_an_error_and_reserves_nothing() -> None:
    book = Addresses()
    with pytest.raises(ConductorError) as failed:
        reserve(book, WEB, HOST, change="c", count=7, used=[])
    assert failed.value.sentence == "cannot reserve 7 addresses in 10.9.0.0/28: only 6 of 6 free"
    assert failed.value.hint
    assert book == Addresses()


def test_the_reservations_of_a_change_are_released_together() -> None:
    book = Addresses(cursor={"range": "c"}, reserved={"a": "c1", "b": "c2", "c": "c1"})
    assert book.released("c1") == Addresses(cursor={"range": "c"}, reserved={"b": "c2"})


@given(
    st.lists(st.integers(0, 3), max_size=12),
    st.sets(st.sampled_from([f"10.9.0.{n}" for n in range(2, 8)]), max_size=2),
)
def test_no_address_is_reserved_twice(counts: list[int], foreign: set[str]) -> None:
    book, live = Addresses(), dict[str, tuple[str, ...]]()
    for number, count in enumerate(counts):
        change = f"c{number}"
        try:
            book, reserved = reserve(book, WEB, HOST, change=change, count=count, used=foreign)
        except ConductorError:
            if live:
                oldest = next(iter(live))
                del live[oldest]
                book = book.released(oldest)
            continue
        known = {address for addresses in live.values() for address in addresses}
        assert known.isdisjoint(reserved)
        assert foreign.isdisjoint(address.partition(":")[0] for address in reserved)
        assert all(2 <= int(address.partition(":")[0].rpartition(".")[2]) <= 7 for address in reserved)
        live[change] = reserved
