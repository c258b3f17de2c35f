"""Ten upgrades under load, on hosts of each release of Debian, with its Docker Engine and its nginx."""

import pytest

from tests.host.conftest import COUNTS
from tests.support.site import Site
from tests.support.witness import Witness

pytestmark = pytest.mark.long
UPGRADES = 10


def test_ten_upgrades_under_load(site: Site) -> None:
    site.upgrade("r1", "worker")
    ten_upgrades_under_load(site)


def ten_upgrades_under_load(site: Site) -> None:
    """No client loses a request. One call upgrades both services."""
    site.deployed("r1", COUNTS)
    with Witness(site.machine.address, site.ports) as witness, site.load("shop", busy=20, idle=20) as load:
        for number in range(UPGRADES):
            site.upgrade(("r2", "r1")[number % 2], *COUNTS)
        result = load.stop()
    print(f"{UPGRADES} upgrades: {result}")
    assert result.lost == 0, result
    assert set(result.revisions) == {"r1", "r2"}
    assert [witness.failures(service) for service in COUNTS] == [[], []]
    site.settle({**{name: ("r1", count) for name, count in COUNTS.items()}, "worker": ("r1", 1)})
