"""A prepared host for the tests of a module: booted, with the fixture app's images, Conductor and its supervise."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cookbook import converge, service
from tests.support.machine import Machine
from tests.support.real_parts import need_real_parts
from tests.support.site import Site, load_app

PORTS = {"shop": 8081, "api": 8082}
COUNTS = {"shop": 2, "api": 1}
# The jobs' output goes to a directory of the host, which outlives them.
CRONTAB = "MAILTO=root\n* * * * * echo ran $(date +\\%s) $REVISION >>/srv/ran; echo job of $REVISION\n"
SERVICES: dict[str, dict[str, Any]] = {
    "shop": service("shop", PORTS["shop"], console=["sh"], secrets=["PASSWORD"]),
    "api": service("api", PORTS["api"], count=1, env={"FAULT_r9": "exit"}),
    "worker": {"image": "conductor-test-app", "command": ["sleep", "infinity"], "init": True,
               "health": {"none": True, "stable_for": "500ms"}},
    "jobs": {"image": "conductor-test-app", "count": 0, "volumes": ["/srv/jobs:/srv"],
             "cron": {"generate": ["printf", "%s", CRONTAB]}},
}  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def real_parts() -> None:
    need_real_parts()


@pytest.fixture(scope="module")
def bare(images: None) -> Iterator[Machine]:
    """The host behind `site`, before the cookbook."""
    with Machine("web1") as machine:
        load_app(machine)
        yield machine


@pytest.fixture(scope="module")
def module_site(bare: Machine) -> Site:
    """It is prepared by the cookbook."""
    converge(bare, SERVICES)
    return Site(bare, PORTS)


@pytest.fixture
def site(module_site: Site, request: pytest.FixtureRequest) -> Iterator[Site]:
    """The module's host; a failed test prints what is on it."""
    before = request.session.testsfailed
    yield module_site
    if request.session.testsfailed > before:
        print(module_site.machine.describe())
