"""The host goes down at ten moments of an upgrade, every other time as if the current failed."""

import subprocess
import time
from typing import IO

import pytest

from tests.host.conftest import COUNTS
from tests.support.site import Site
from tests.support.witness import Witness

pytestmark = pytest.mark.long
# When this step has begun or is done, the current fails, or an operator shuts the host down; what follows may have begun by then.
MOMENTS = (
    "start begins", "start done", "gate begins", "gate done", "cutover begins", "cutover done",
    "commit done", "drain begins", "retire begins", "retire done",
)  # fmt: skip
BOOT_SECONDS = 0.2  # of the apps
WITHIN_SECONDS = 10.0 + BOOT_SECONDS
UPGRADE = ("conductor", "service", "upgrade", "--id", "shop", "--id", "api", "--revision")


@pytest.fixture(scope="module", autouse=True)
def deployed(module_site: Site) -> None:
    """Both at r1."""
    module_site.upgrade("r1", "worker")
    module_site.deployed("r1", COUNTS)


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.replace(" ", "-"))
def test_reboot_under_load(site: Site, moment: str) -> None:
    machine = site.machine
    old = site.wanted("shop")["release"]["revision"]
    new = "r1" if old != "r1" else "r2"
    site.settle(expected(old))
    with (
        Witness(machine.address, site.ports) as witness,
        site.load("shop", busy=5, idle=5, timeout=3) as load,
        machine.spawn(*UPGRADE, new) as upgrade,
    ):
        assert upgrade.stderr is not None
        told = read_until(moment, upgrade.stderr)
        machine.power_off(orderly=MOMENTS.index(moment) % 2 == 1)
        told += upgrade.stderr.read()
        upgrade.wait(30)
        machine.power_on(wait=False)
        docker_up = wait_for_docker(site)
        machine.wait_until_up()
        live = site.wanted("shop")["release"]["revision"]
        machine.wait_for(lambda: site.is_served(expected(live)), f"{expected(live)} to be served", 60)
        took = time.monotonic() - docker_up
        site.settle(expected(live), 60)  # what is of no use any more may go later
        result = load.stop()
    assert "  commit  done in" not in told or live == new, told
    assert "  commit  " in told or live == old, told
    assert site.wanted("api")["release"]["revision"] == live  # they move together
    assert took <= WITHIN_SECONDS, machine.describe()
    assert witness.wrong() == []
    assert {one.revision for one in witness.seen if one.revision} | set(result.revisions) <= {old, new, "(not named)"}
    assert witness.failures("shop", since=docker_up + took) == []
    print(f"{moment}: {live} of {old} to {new}, served {took:.1f} s after Docker was up")


def read_until(moment: str, lines: IO[str]) -> str:
    """What was told, with the line of the moment. Lines are `STEP  TEXT` at the beginning, and `STEP  done in TIME`."""
    step, point = moment.split()
    told = ""
    for line in lines:
        told += line
        if (words := line.split())[:1] == [step] and (words[1:2] == ["done"]) == (point == "done"):
            return told
    raise AssertionError(f"never told {moment!r}: {told}")


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
