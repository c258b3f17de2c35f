"""The daemon's settings and versions, from its responses."""

import pytest

from conductor.runtime.docker.responses import daemon
from conductor.runtime.docker.shapes import Info, Version

INFO = Info(system_time="2026-01-01T00:00:00.123456789+01:00", live_restore_enabled=True, docker_root_dir="/srv/docker")


@pytest.mark.parametrize(
    ("api", "supported"),
    [("1.9", False), ("1.40", False), ("1.41", True), ("1.52", True), ("2.0", True), (None, False)],
)
def test_the_api_must_be_new_enough(api: str | None, supported: bool) -> None:
    version = Version(version="20.10.24", api_version=api) if api else Version(version="20.10.24")
    assert daemon(INFO, version, local=True).supported is supported


def test_the_directory_of_a_daemon_on_another_host_is_not_known() -> None:
    version = Version(version="20.10.24", api_version="1.41")
    here, elsewhere = (daemon(INFO, version, local=local) for local in (True, False))
    assert (here.version, here.data_dir, here.keeps_containers) == ("20.10.24", "/srv/docker", True)
    assert elsewhere.data_dir == ""


def test_containers_stop_with_the_daemon_unless_it_says_otherwise() -> None:
    assert not daemon(Info(system_time=""), Version(), local=True).keeps_containers
