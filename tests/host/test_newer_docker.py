"""A host with a Docker Engine that is newer than those of the Debian releases."""

import json

import pytest

from tests.host.conftest import COUNTS, PORTS, SERVICES
from tests.host.test_day import (
    a_broken_deploy_says_why_and_changes_nothing,
    a_paused_service_is_left_alone_and_says_so,
    a_wrapped_job_has_fired_on_time_and_told_by_mail,
    one_off_tasks_and_a_console,
    reboot_in_the_middle_of_an_upgrade,
    upgrade_and_rollback_under_load,
)
from tests.host.test_upgrades import ten_upgrades_under_load
from tests.support.cookbook import UNIT, converge
from tests.support.host_image import DOCKER_DROP_IN, NEWER_DOCKER, Release
from tests.support.machine import Machine
from tests.support.site import Site

pytestmark = pytest.mark.long
ALL = {"shop": ("r1", 2), "api": ("r1", 1), "worker": ("r1", 1)}


@pytest.fixture(scope="module", params=[NEWER_DOCKER], ids=[NEWER_DOCKER.name])
def release(request: pytest.FixtureRequest) -> Release:
    """The release of the hosts."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def module_site(bare: Machine) -> Site:
    """Everything is at r1."""
    converge(bare, SERVICES)
    site = Site(bare, PORTS)
    site.upgrade("r1", "worker", "jobs")
    site.deployed("r1", COUNTS)
    return site


def test_ten_upgrades_under_load(site: Site) -> None:
    ten_upgrades_under_load(site)


def test_a_day(site: Site) -> None:
    """The same as with the engines of the releases."""
    upgrade_and_rollback_under_load(site)
    a_broken_deploy_says_why_and_changes_nothing(site)
    one_off_tasks_and_a_console(site)
    reboot_in_the_middle_of_an_upgrade(site)
    a_paused_service_is_left_alone_and_says_so(site)
    a_wrapped_job_has_fired_on_time_and_told_by_mail(site)


def test_an_upgraded_engine_refuses_the_version_that_was_negotiated(site: Site) -> None:
    """As Docker 29 does with those of Docker 24 and earlier. Supervise runs throughout the upgrade of the engine."""
    machine = site.machine
    site.deployed("r1", COUNTS)
    site.settle(ALL)
    pid = machine.run("systemctl", "show", "--value", "--property", "MainPID", UNIT).stdout
    newest = json.loads(machine.run("docker", "version", "--format", "{{json .Server.APIVersion}}").stdout)
    machine.run("sed", "-i", f"s/DOCKER_MIN_API_VERSION=[0-9.]*/DOCKER_MIN_API_VERSION={newest}/", DOCKER_DROP_IN)
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "docker", timeout=180)
    site.settle(ALL)
    assert site.conductor("run", "--id", "shop", "echo", "hello").stdout == "hello\n"
    site.upgrade("r2", *COUNTS)
    site.settle({**ALL, "shop": ("r2", 2), "api": ("r2", 1)})
    assert machine.run("systemctl", "show", "--value", "--property", "MainPID", UNIT).stdout == pid
