"""The state directory is a small file system, and fills up: before an upgrade, in its middle, and under supervise."""

import time
from collections.abc import Iterator

import pytest

from tests.host.conftest import COUNTS, PORTS, SERVICES
from tests.support.cookbook import converge
from tests.support.host_image import Release
from tests.support.machine import Machine
from tests.support.site import Site, load_app
from tests.support.witness import Witness

pytestmark = pytest.mark.long
STATE = "/var/lib/conductor"
ALL = {"shop": ("r1", 2), "api": ("r1", 1)}


@pytest.fixture(scope="module")
def module_site(images: None, release: Release) -> Iterator[Site]:
    """Four pages for each of its files, and a few more."""
    with Machine("small", release=release, options=("--tmpfs", f"{STATE}:size=512k,mode=700")) as machine:
        load_app(machine)
        converge(machine, SERVICES)
        yield Site(machine, PORTS)


@pytest.fixture(autouse=True)
def deployed(site: Site) -> None:
    """There is room, and everything runs r1."""
    free(site)
    site.deployed("r1", COUNTS)


def fill(site: Site) -> None:
    """To the last byte."""
    site.machine.run("dd", "if=/dev/zero", f"of={STATE}/filler", "bs=4k", check=False)


def free(site: Site) -> None:
    """Room again."""
    site.machine.run("rm", "-f", f"{STATE}/filler")


def test_before_an_upgrade(site: Site) -> None:
    before = site.replicas()
    fill(site)
    with Witness(site.machine.address, site.ports) as witness:
        failed = site.upgrade("r2", *COUNTS, check=False)
    assert failed.code == 1, failed
    assert f"cannot write {STATE}/" in failed.stderr
    assert "No space left on device" in failed.stderr
    assert site.replicas() == before
    assert [witness.failures(service) for service in COUNTS] == [[], []]
    free(site)
    site.upgrade("r2", *COUNTS)
    site.settle({"shop": ("r2", 2), "api": ("r2", 1)})


@pytest.mark.parametrize("delay", [0.4, 0.8, 1.2, 1.6])
def test_in_the_middle_of_an_upgrade(site: Site, delay: float) -> None:
    """Whatever was reached by then: what is committed serves, and with room again all is as it should be."""
    with Witness(site.machine.address, site.ports) as witness:
        upgrade = site.machine.spawn("conductor", "service", "upgrade", "--id", "shop", "--revision", "r2")
        time.sleep(delay)
        fill(site)
        told = upgrade.communicate(timeout=60)[1]
        live = site.wanted("shop")["release"]["revision"]
        assert upgrade.returncode in ({0, 4} if live == "r2" else {1, 4}), told
        assert "Traceback" not in told
        assert site.serves("shop", live)
        free(site)
        site.settle({**ALL, "shop": (live, 2)})
    assert witness.failures("shop") == []
    assert witness.wrong() == []


def test_under_supervise(site: Site) -> None:
    """What it cannot write down it does not do, and it says so; with room again it does."""
    fill(site)
    site.machine.run("sh", "-c", "docker kill $(docker ps -q --filter label=conductor.service=shop | head -1)")
    said = lambda: site.machine.run("journalctl", "-u", "conductor-supervise", "-n", "5", "--no-pager").stdout  # noqa: E731
    site.machine.wait_for(lambda: "No space left on device" in said(), "supervise to say that there is no room", 20)
    assert site.serves("api", "r1")
    free(site)
    site.settle(ALL)
