"""The cookbook with the Debian package instead of the wheel: installed, upgraded by another converge, then unchanged."""

from typing import Any

import pytest

from tests.host.conftest import COUNTS, MACHINES_OWN, PORTS, SERVICES, found
from tests.support.cookbook import UNIT, converge
from tests.support.debs import NEXT, Debs, debs
from tests.support.machine import Machine
from tests.support.site import Site

pytestmark = pytest.mark.long
PACKAGE = "dpkg_package[conductor]"


@pytest.fixture(scope="module")
def packages() -> Debs:
    return debs()


@pytest.fixture(scope="module")
def module_site(bare: Machine, packages: Debs) -> Site:
    """Nothing is installed yet."""
    for package in packages:
        bare.copy(package, "/srv")
    return Site(bare, PORTS)


def test_the_package_is_installed_and_upgraded_by_the_cookbook(site: Site, packages: Debs) -> None:
    """One test, as each part finds what the one before has left."""
    first = converged(site, packages.first.name)
    assert PACKAGE in first["updated"]
    assert site.machine.run("systemctl", "is-enabled", UNIT).stdout == "enabled\n"
    unit = site.machine.run("systemctl", "show", "--value", "--property", "FragmentPath", UNIT).stdout.strip()
    # systemd of Debian 12 names the file by the link /lib
    assert site.machine.run("readlink", "-f", unit).stdout == f"/usr/lib/systemd/system/{UNIT}.service\n"
    site.upgrade("r1", "worker", "jobs")
    site.deployed("r1", COUNTS)
    site.machine.wait_for(lambda: found(site.machine) <= MACHINES_OWN, f"doctor to find only {MACHINES_OWN}")
    pid, before = main_pid(site), site.replicas()
    assert converged(site, packages.first.name)["updated"] == []
    assert main_pid(site) == pid
    with site.load("shop", busy=10, idle=10) as load:
        assert converged(site, packages.later.name)["updated"] == [PACKAGE]
        assert site.conductor("--version").stdout.split()[1] == NEXT
        assert main_pid(site) != pid
        site.upgrade("r2", "shop")
        result = load.stop()
    assert result.lost == 0, result
    site.deployed("r1", COUNTS)
    assert site.replicas() == before
    assert converged(site, packages.later.name)["updated"] == []
    assert site.machine.run("systemctl", "--failed", "--no-legend").stdout == ""


def converged(site: Site, package: str) -> dict[str, Any]:
    return converge(site.machine, SERVICES, deb=f"/srv/{package}")


def main_pid(site: Site) -> str:
    return site.machine.run("systemctl", "show", "--value", "--property", "MainPID", UNIT).stdout.strip()
