"""The host goes down at ten moments of an upgrade, five times as if the current failed."""

import subprocess
import time

import pytest

from tests.host.conftest import COUNTS
from tests.support.load import Load
from tests.support.site import Site
from tests.support.witness import Witness

pytestmark = pytest.mark.long
MOMENTS = 10
BOOT_SECONDS = 0.2  # of the apps
WITHIN_SECONDS = 10.0 + BOOT_SECONDS
UPGRADE = ("conductor", "service", "upgrade", "--id", "shop", "--id", "api", "--revision")


@pytest.fixture(scope="module")
def upgrade_seconds(module_site: Site) -> float:
    """How long one takes on this machine today; both services are at r2 then."""
    module_site.upgrade("r1", "worker")
    module_site.deployed("r1", COUNTS)
    with Load(module_site.url("shop"), busy=5, idle=5):
        return module_site.machine.run(*UPGRADE, "r2").seconds


@pytest.mark.parametrize("moment", range(MOMENTS))
def test_reboot_under_load(site: Site, upgrade_seconds: float, moment: int) -> None:
    machine = site.machine
    old = site.wanted("shop")["release"]["revision"]
    new = "r1" if old != "r1" else "r2"
    site.settle(expected(old))
    with Witness(machine.address, site.ports) as witness, Load(site.url("shop"), busy=5, idle=5, timeout=3) as load:
        upgrade = machine.spawn(*UPGRADE, new)
        time.sleep(upgrade_seconds * (moment + 0.5) / MOMENTS)
        machine.power_off(orderly=moment % 2 == 1)
        told = upgrade.communicate(timeout=30)[1]
        machine.power_on(wait=False)
        docker_up = wait_for_docker(site)
        machine.wait_until_up()
        live = site.wanted("shop")["release"]["revision"]
        site.settle(expected(live))
        took = time.monotonic() - docker_up
        result = load.stop()
    assert "  commit  done in" not in told or live == new, told
    assert "  commit  " in told or live == old, told
    assert site.wanted("api")["release"]["revision"] == live  # they move together
    assert took <= WITHIN_SECONDS, machine.describe()
    assert witness.wrong() == []
    assert {one.revision for one in witness.seen if one.revision} | set(result.revisions) <= {old, new, "(not named)"}
    assert witness.failures("shop", since=docker_up + took) == []
    print(f"moment {moment}: {live}, served again {took:.1f} s after Docker was up; {told.splitlines()[-1:]}")


def expected(revision: str) -> dict[str, tuple[str, int]]:
    """Everything on the host that runs."""
    return {**{service: (revision, count) for service, count in COUNTS.items()}, "worker": ("r1", 1)}


def wait_for_docker(site: Site) -> float:
    """When it answered for the first time."""
    words = site.machine.words("docker", "version")
    site.machine.wait_for(
        lambda: subprocess.run(words, capture_output=True, check=False).returncode == 0, "Docker to be up", 60
    )
    return time.monotonic()
