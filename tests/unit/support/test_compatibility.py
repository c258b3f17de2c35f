"""The page of what was tested with what: it shows the recorded file, and a run with other versions replaces a record."""

import pytest

from tests.support.compatibility import OF_MACHINE, PAGE, Host, added, page, read, series, version
from tests.support.host_image import NEWER_DOCKER, PODMAN

OLD = Host({"nginx": "1.22.1"}, {"tests/host/test_day.py": 1, "tests/host/test_tour.py": 2})


def test_the_page_shows_the_recorded_file() -> None:
    assert PAGE.read_text() == page(read())


DAYS = {PODMAN.title: "tests/host/test_podman.py", NEWER_DOCKER.title: "tests/host/test_newer_docker.py"}


def test_each_host_passed_its_day() -> None:
    hosts = read()
    assert {"Debian 12", "Debian 13"} <= set(hosts)
    assert [name for name, one in hosts.items() if not one.tests.get(DAYS.get(name, "tests/host/test_day.py"))] == []


def test_docker_and_podman_have_a_row_each_beside_the_other() -> None:
    hosts = {name: Host({name: "1.0", "nginx": "1.22.1"}, {}) for name in ("Docker Engine", "Podman")}
    assert "\nTested versions of Debian, Docker, Podman and nginx.\n" in page(hosts)
    rows = page(hosts).partition("## Versions")[2].splitlines()
    assert [row for row in rows if "1." in row] == [
        "| Docker Engine | 1.0 |  |", "| Podman |  | 1.0 |", "| nginx | 1.22.1 | 1.22.1 |",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("Docker version 26.1.5+dfsg1, build a72d7cd", "26.1.5"),
        ("nginx version: nginx/1.26.3", "1.26.3"),
        ("systemd 257 (257.13-1~deb13u1)", "257"),
        ("cron\t3.0pl1-197", "3.0pl1"),
    ],
)
def test_a_version_is_found(line: str, found: str) -> None:
    assert version(line) == found


def test_a_second_run_with_the_same_versions_adds_its_tests() -> None:
    hosts = added({"Debian 12": OLD}, "Debian 12", Host(OLD.versions, {"tests/host/test_tour.py": 3}))
    assert hosts == {"Debian 12": Host(OLD.versions, {"tests/host/test_day.py": 1, "tests/host/test_tour.py": 3})}


def test_a_run_with_other_versions_drops_what_passed_before() -> None:
    new = Host({"nginx": "1.26.3"}, {"tests/host/test_tour.py": 3})
    assert added({"Debian 12": OLD}, "Debian 12", new) == {"Debian 12": new}


def test_a_point_release_of_debian_does_not_change_the_series() -> None:
    both = [series({"nginx": one, **dict.fromkeys(OF_MACHINE, "6.1.0")}) for one in ("1.26.3", "1.26.4")]
    assert both == [{"nginx": "1.26"}] * 2
