"""A prepared host for the tests of a module: booted, with the fixture app's images, Conductor and its supervise.

Each test runs on every release of Debian: by default only on the oldest, `tests/run long` adds the others. `test_day.py`
runs on all of them by default.
"""

import json
import os
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Any

import pytest

from tests.support import compatibility
from tests.support.cookbook import converge, service
from tests.support.host_image import BOOKWORM, NEWER_DOCKER, PODMAN, RELEASES, TRIXIE, Release
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

# What doctor may find: room on the disk, Docker's default setting, Debian's version of nginx.
MACHINES_OWN = {"docker-disk", "state-disk", "image-room", "docker-live-restore", "nginx-idle-clients"}


PASSED: Counter[tuple[Release, str]] = Counter()  # by release and file
FAILED: set[tuple[Release, str]] = set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if (called := getattr(item, "callspec", None)) and (release := called.params.get("release")):
        one = (release, item.nodeid.partition("::")[0])
        PASSED[one] += report.when == "call" and report.passed
        FAILED.update({one} if report.failed else ())
    return report


def pytest_sessionfinish() -> None:
    """With CONDUCTOR_RECORD=1, write down which files passed on which hosts, and with which versions."""
    if os.environ.get("CONDUCTOR_RECORD"):
        for release in (*RELEASES, PODMAN, NEWER_DOCKER):
            passed = {name: count for (of, name), count in PASSED.items() if of == release and count}
            tests = {name: count for name, count in passed.items() if (release, name) not in FAILED}
            if tests:
                host = compatibility.Host(compatibility.versions(release), tests)
                compatibility.record(release.title, host)


@pytest.fixture(scope="session", autouse=True)
def real_parts() -> None:
    need_real_parts()


@pytest.fixture(
    scope="module", params=[BOOKWORM, pytest.param(TRIXIE, marks=pytest.mark.long)], ids=lambda release: release.name
)
def release(request: pytest.FixtureRequest) -> Release:
    """The release of the hosts."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def bare(images: None, release: Release) -> Iterator[Machine]:
    """The host behind `site`, before the cookbook."""
    with Machine("web1", release=release) as machine:
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


def found(machine: Machine) -> set[str]:
    """Return the checks of doctor that found something."""
    findings = json.loads(machine.run("conductor", "doctor", "--json", check=False).stdout)["findings"]
    return {one["check"] for one in findings}
