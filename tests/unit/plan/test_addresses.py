"""Addresses: a table of picks, and the property that nothing known to anybody is dealt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conductor.definitions.model import Network, Service
from conductor.errors import ConductorError
from conductor.plan.addresses import Addresses, pick
from conductor.plan.values import Worker

NETWORK = Network(subnet="10.9.0.0/28", tasks="10.9.0.8/29")  # .2 to .7 are for services
WEB = Service(image="app", port=80)
PUBLISHED = Service(image="app", port=80, publish=(21000, 21005))
WORKER = Worker(7, 1)


@pytest.mark.parametrize(
    ("book", "service", "used", "count", "expected"),
    [
        pytest.param(Addresses(), WEB, [], 2, ["10.9.0.2:80", "10.9.0.3:80"], id="from-the-start"),
        pytest.param(
            Addresses(cursor={"10.9.0.0/28": "10.9.0.3:80"}),
            WEB,
            [],
            2,
            ["10.9.0.4:80", "10.9.0.5:80"],
            id="cursor-advances",
        ),
        pytest.param(
            Addresses(cursor={"10.9.0.0/28": "10.9.0.6:80"}),
            WEB,
            [],
            2,
            ["10.9.0.7:80", "10.9.0.2:80"],
            id="wraps",
        ),
        pytest.param(Addresses(), WEB, ["10.9.0.2", "10.9.0.3:8080"], 1, ["10.9.0.4:80"], id="used-by-ip-or-label"),
        pytest.param(
            Addresses(reserved={"10.9.0.2:99": "c"}),
            WEB,
            [],
            1,
            ["10.9.0.3:80"],
            id="reserved-at-another-port",
        ),
        pytest.param(Addresses(quarantine={"10.9.0.2:80": (WORKER,)}), WEB, [], 1, ["10.9.0.3:80"], id="quarantine"),
        pytest.param(Addresses(), PUBLISHED, ["127.0.0.1:21000"], 1, ["127.0.0.1:21001"], id="published-port"),
        pytest.param(Addresses(), WEB, [], 0, [], id="none"),
    ],
)
def test_pick(book, service, used, count, expected):
    _, picked = pick(book, service, NETWORK, change="c1", count=count, used=used)
    assert list(picked) == expected


def test_a_full_range_is_a_sentence():
    with pytest.raises(ConductorError, match=r"cannot find 7 free addresses in 10.9.0.0/28: 6 in all"):
        pick(Addresses(), WEB, NETWORK, change="c", count=7, used=[])


def test_quarantine_ends_with_its_workers():
    book = Addresses(reserved={"a": "c1", "b": "c2"}).released("c1", ["old"], (WORKER,))
    assert book == Addresses(reserved={"b": "c2"}, quarantine={"old": (WORKER,)})
    assert book.without_dead({WORKER}).quarantine == {"old": (WORKER,)}
    assert book.without_dead({Worker(7, 2)}).quarantine == {}


@given(
    st.lists(st.integers(0, 3), max_size=12),
    st.sets(st.sampled_from([f"10.9.0.{n}" for n in range(2, 8)]), max_size=2),
)
def test_no_address_is_dealt_twice_while_anybody_knows_it(counts, foreign):
    book, live = Addresses(), {}
    for number, count in enumerate(counts):
        change = f"c{number}"
        try:
            book, picked = pick(book, WEB, NETWORK, change=change, count=count, used=foreign)
        except ConductorError:
            oldest = next(iter(live), None)
            if oldest is not None:
                book = book.released(oldest, live.pop(oldest), ())
            continue
        known = [address for addresses in live.values() for address in addresses]
        assert not set(picked) & set(known)
        assert not {a.partition(":")[0] for a in picked} & foreign
        assert all(2 <= int(a.partition(":")[0].rpartition(".")[2]) <= 7 for a in picked)
        live[change] = picked
