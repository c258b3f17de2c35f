"""The versions of the hosts are those on the manual's page of compatibility, but for updates within a release of Debian."""

import os

import pytest

from tests.support.compatibility import read, series, versions
from tests.support.host_image import PODMAN, RELEASES, Release

HOSTS = [*RELEASES, pytest.param(PODMAN, marks=pytest.mark.long)]


@pytest.mark.parametrize("release", HOSTS, ids=lambda release: release.name)
@pytest.mark.skipif("CONDUCTOR_RECORD" in os.environ, reason="this run records them")
def test_the_recorded_versions(release: Release) -> None:
    assert series(read()[release.title].versions) == series(versions(release))
