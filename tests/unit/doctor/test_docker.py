"""Checks of Docker, each found and not found."""

import pytest

from conductor.doctor.finding import Severity
from tests.unit.doctor.conftest import GIB, HostUnderTest, Row, causes_its_finding

ROWS = {
    "away": Row("docker-unreachable", Severity.ERROR, lambda host: setattr(host.world.runtime, "away", True)),
    "old": Row("docker-version", Severity.ERROR, lambda host: host.world.runtime.settings.update(supported=False)),
    "live-restore": Row(
        "docker-live-restore", Severity.INFO, lambda host: host.world.runtime.settings.update(keeps_containers=False)
    ),
    "little room": Row(
        "docker-disk", Severity.WARNING, lambda host: host.free.update({"/nowhere/docker": int(1.5 * GIB)})
    ),
    "no room": Row("docker-disk", Severity.ERROR, lambda host: host.free.update({"/nowhere/docker": 2**20})),
    "no room for images": Row(
        "image-room",
        Severity.WARNING,
        lambda host: host.world.runtime.add_image("shop:r1", size=60 * GIB),
    ),
    "clock behind": Row(
        "docker-clock",
        Severity.WARNING,
        lambda host: host.world.runtime.settings.update(time=host.world.clock.later(-60)),
    ),
    "clock ahead, in another time zone": Row(
        "docker-clock",
        Severity.WARNING,
        lambda host: host.world.runtime.settings.update(time=host.world.clock.now().replace("Z", "-01:00")),
    ),
    "registry": Row(
        "registry-credentials", Severity.ERROR, lambda host: host.world.runtime.unreadable_credentials.add("shop")
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_each_trouble_is_found(host: HostUnderTest, row: Row) -> None:
    causes_its_finding(host, row)


@pytest.mark.parametrize("row", ["little room", "no room", "no room for images"])
def test_gc_comes_first_when_room_is_short(host: HostUnderTest, row: str) -> None:
    ROWS[row].arrange(host)
    assert {one.fix.partition("   ")[0] for one in host.report().findings} == {"conductor gc"}


def test_an_image_of_two_services_needs_room_once(host: HostUnderTest) -> None:
    host.free["/nowhere/docker"] = int(2.5 * GIB)
    host.world.runtime.add_image("shop:r1", size=2 * GIB)
    assert "image-room" not in {one.check for one in host.report().findings}


def test_the_disk_of_a_daemon_on_another_host_is_not_known(host: HostUnderTest) -> None:
    host.world.runtime.settings["data_dir"] = ""
    host.free[""] = 0
    assert host.report().findings == ()


def test_the_same_time_in_another_zone_is_no_difference(host: HostUnderTest) -> None:
    later = host.world.clock.later(3600).replace("Z", "+01:00")
    host.world.runtime.settings["time"] = later
    assert host.report().findings == ()


def test_the_disk_of_a_docker_in_a_virtual_machine_is_not_known(host: HostUnderTest) -> None:
    host.unseen.add("/nowhere/docker")
    assert host.report().findings == ()
