"""A host with Podman 5 instead of Docker: no daemon runs, systemd starts `podman.socket` and supervise."""

import json

import pytest

from tests.host.conftest import COUNTS, MACHINES_OWN, PORTS, SERVICES, found
from tests.host.test_day import (
    a_broken_deploy_says_why_and_changes_nothing,
    a_paused_service_is_left_alone_and_says_so,
    a_wrapped_job_has_fired_on_time_and_told_by_mail,
    one_off_tasks_and_a_console,
    reboot_in_the_middle_of_an_upgrade,
    upgrade_and_rollback_under_load,
)
from tests.host.test_upgrades import ten_upgrades_under_load
from tests.support.cookbook import converge
from tests.support.host_image import PODMAN, Release
from tests.support.machine import Machine
from tests.support.site import Site
from tests.support.witness import Witness

pytestmark = pytest.mark.long
SOCKET = "unix:///run/podman/podman.sock"
EVENT_SECONDS = 3.0  # 0.5 on an idle machine
ALL = {"shop": ("r1", 2), "api": ("r1", 1), "worker": ("r1", 1)}


@pytest.fixture(scope="module", params=[PODMAN], ids=["podman"])
def release(request: pytest.FixtureRequest) -> Release:
    """The release of the hosts."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def module_site(bare: Machine) -> Site:
    """Everything is at r1."""
    converge(bare, SERVICES, {"docker": SOCKET})
    site = Site(bare, PORTS)
    site.upgrade("r1", "worker", "jobs")
    site.deployed("r1", COUNTS)
    return site


def test_nothing_of_docker_is_there(site: Site) -> None:
    run = site.machine.run
    assert not site.machine.exists("/usr/sbin/dockerd")
    assert run("systemctl", "is-active", "podman.socket", "conductor-supervise").stdout == "active\nactive\n"
    assert run("systemctl", "is-enabled", "podman-restart", check=False).stdout == "disabled\n"
    after = run("systemctl", "show", "--value", "--property", "After", "conductor-supervise").stdout.split()
    assert "podman.socket" in after
    assert found(site.machine) <= MACHINES_OWN - {"docker-live-restore"}


def test_ten_upgrades_under_load(site: Site) -> None:
    ten_upgrades_under_load(site)


def test_a_day(site: Site) -> None:
    """The same as with Docker."""
    upgrade_and_rollback_under_load(site)
    a_broken_deploy_says_why_and_changes_nothing(site)
    one_off_tasks_and_a_console(site)
    reboot_in_the_middle_of_an_upgrade(site)
    a_paused_service_is_left_alone_and_says_so(site)
    a_wrapped_job_has_fired_on_time_and_told_by_mail(site)


def test_what_is_killed_is_replaced(site: Site) -> None:
    """The event of the exit wakes supervise, before its next pass, which is up to 5 seconds later."""
    site.deployed("r1", COUNTS)
    before = containers(site, "shop")
    machine = site.machine
    with Witness(machine.address, {"shop": PORTS["shop"]}) as witness:
        killed = float(machine.run("sh", "-c", f"date +%s.%N; docker kill {before[0]} >&2").stdout)
        site.settle({"shop": ("r1", 2)})
    assert len(set(containers(site, "shop")) & set(before)) == 1
    assert witness.wrong() == []
    words = ("journalctl", "-u", "conductor-supervise", "--since", f"@{killed:.6f}", "--output", "short-unix")
    [began] = [float(line.split()[0]) for line in machine.run(*words).stdout.splitlines() if "repair started" in line]
    print(f"repair started after {began - killed:.1f} s")
    assert began - killed < EVENT_SECONDS


@pytest.mark.parametrize("orderly", [True, False])
def test_a_reboot(site: Site, orderly: bool) -> None:
    """Supervise starts the same containers, at their old addresses; Podman's own restart of containers is off."""
    site.deployed("r1", COUNTS)
    site.settle(ALL)
    before = addresses(site)
    site.machine.reboot(orderly=orderly)
    site.settle(ALL)
    assert addresses(site) == before
    assert site.machine.run("systemctl", "--failed", "--no-legend").stdout == ""
    assert site.machine.run("systemctl", "is-active", "podman-restart", check=False).stdout == "inactive\n"


def test_the_service_of_podman_may_end_while_containers_run(site: Site) -> None:
    """It is only the end of the API: the next call starts it again."""
    site.deployed("r1", COUNTS)
    before = addresses(site)
    with Witness(site.machine.address, site.ports) as witness:
        site.machine.run("systemctl", "kill", "--signal", "KILL", "podman.service")
        site.settle(ALL)
        site.machine.run("systemctl", "restart", "podman.service")
        site.settle(ALL)
    assert addresses(site) == before
    assert [witness.failures(service) for service in COUNTS] == [[], []]


def containers(site: Site, service: str) -> list[str]:
    """The ids of the running containers of a service."""
    words = ("docker", "ps", "--quiet", "--no-trunc", "--filter", f"label=conductor.service={service}")
    return site.machine.run(*words).stdout.split()


def addresses(site: Site) -> dict[str, str]:
    """The addresses of the running replicas, by id."""
    ids = site.machine.run(
        "docker", "ps", "--quiet", "--no-trunc", "--filter", "label=conductor.kind=service"
    ).stdout.split()
    inspected = json.loads(site.machine.run("docker", "inspect", *ids).stdout)
    return {
        one["Id"]: network["IPAddress"] for one in inspected for network in one["NetworkSettings"]["Networks"].values()
    }
