"""Live upstreams on whole hosts of each release of Debian, with its nginx, its Lua module and its units."""

import time

import pytest

from tests.host.conftest import PORTS, found
from tests.support.cookbook import converge, service
from tests.support.host_image import RELEASES, Release
from tests.support.machine import Machine
from tests.support.site import Site

pytestmark = pytest.mark.long
SHOP = service("shop", PORTS["shop"], secrets=["PASSWORD"], canary={"share": "100%"})
CLASSES = {"busy": (50, 0, 0.0)} | {f"idle {seconds} s": (0, 50, seconds) for seconds in (0.1, 1.0, 2.0)}


@pytest.fixture(scope="module", params=RELEASES, ids=lambda release: release.name)
def release(request: pytest.FixtureRequest) -> Release:
    """All of them."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def module_site(bare: Machine) -> Site:
    """Prepared by the cookbook for live upstreams, with r1 deployed."""
    converge(bare, {"shop": SHOP}, host={"nginx": {"cutover": "live"}})
    site = Site(bare, {"shop": PORTS["shop"]})
    site.upgrade("r1", "shop")
    return site


def reloads(site: Site) -> int:
    return site.machine.read("/var/log/nginx/error.log").count("(SIGHUP) received")


def test_ten_upgrades_lose_nothing_for_any_class_of_client(site: Site) -> None:
    site.machine.run(
        "sed", "-i", "s/^error_log .*/error_log \\/var\\/log\\/nginx\\/error.log notice;/", "/etc/nginx/nginx.conf"
    )
    site.machine.run("systemctl", "reload", "nginx")
    site.deployed("r1", {"shop": 2})
    before = reloads(site)
    loads = {
        name: site.load("shop", busy=busy, idle=idle, idle_seconds=seconds)
        for name, (busy, idle, seconds) in CLASSES.items()
    }
    for load in loads.values():
        load.__enter__()
    try:
        for number in range(10):
            site.upgrade(f"r{number % 5 + 2}", "shop")
        results = {name: load.stop() for name, load in loads.items()}
    finally:
        for load in loads.values():
            load.__exit__()
    for name, result in results.items():
        print(name, result)
        assert result.lost == 0, f"{name}: {result}\n{result.told[:10]}"
    assert reloads(site) == before
    assert "nginx-cutover" not in found(site.machine)


def test_nginx_is_killed_and_started_by_its_unit(site: Site) -> None:
    """The sockets of the killed nginx do not keep it from starting, and it serves what it served."""
    site.deployed("r2", {"shop": 2})
    site.upgrade("r3", "shop")
    site.machine.run("systemctl", "kill", "--signal", "KILL", "nginx")
    site.machine.wait_for(lambda: not site.machine.run("pidof", "nginx", check=False).stdout, "nginx to be gone", 20)
    site.machine.run("systemctl", "start", "nginx")
    expected = {"shop": ("r3", 2)}
    site.machine.wait_for(lambda: site.is_served(expected), "r3 to be served", 20)
    assert "nothing to do" in site.upgrade("r3", "shop").stderr


def test_a_reboot_changes_no_routing(site: Site) -> None:
    site.upgrade("r4", "shop")
    site.machine.reboot()
    began = time.monotonic()
    site.settle({"shop": ("r4", 2)})
    print(f"served {time.monotonic() - began:.1f} s after the boot")


def test_a_canary(site: Site) -> None:
    site.deployed("r5", {"shop": 2})
    with site.load("shop", busy=20, idle=20) as load:
        words = ("service", "upgrade", "--id", "shop", "--revision", "r6", "--canary", "20%", "--for", "3s")
        site.conductor(*words)
        result = load.stop()
    assert result.lost == 0, f"{result}\n{result.told[:10]}"
    site.settle({"shop": ("r6", 2)})
