"""Volumes whose source does not exist on this host."""

from pathlib import Path

import pytest

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.runtime.docker.client import DockerRuntime


def check(volume: str, daemon: str = "unix:///nowhere") -> None:
    DockerRuntime(daemon, "test", Clock(), SignalCancellation()).check_volumes([volume])


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.yml"
    with pytest.raises(ConductorError) as refused:
        check(f"{path}:/etc/app.yml:ro")
    assert str(path) in refused.value.sentence
    path.write_text("")
    check(f"{path}:/etc/app.yml:ro")


@pytest.mark.parametrize(
    ("volume", "daemon"),
    [("/nowhere/directory:/data", "unix:///nowhere"), ("/nowhere/settings.yml:/etc/app.yml", "tcp://host:2375")],
    ids=["a directory, which Docker creates", "a file of another host"],
)
def test_what_may_be_missing(volume: str, daemon: str) -> None:
    check(volume, daemon)
