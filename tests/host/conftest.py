"""A prepared host for the tests of a module: booted, with the fixture app's images, Conductor and its supervise."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cookbook import converge, service
from tests.support.machine import Machine
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


@pytest.fixture(scope="module")
def module_site(images: None) -> Iterator[Site]:
    """The host behind `site`."""
    with Machine("web1") as machine:
        load_app(machine)
        converge(machine, SERVICES)
        yield Site(machine, PORTS)


@pytest.fixture
def site(module_site: Site, request: pytest.FixtureRequest) -> Iterator[Site]:
    """The module's host; a failed test prints what is on it."""
    before = request.session.testsfailed
    yield module_site
    if request.session.testsfailed > before:
        print(module_site.machine.describe())
