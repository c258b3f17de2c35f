"""Killing a process of a container and its descendants, on processes of this host."""

import select
import subprocess
from collections.abc import Iterator

import pytest

from conductor.runtime.docker.exec_process import kill_tree

ENDED_SECONDS = 10.0
ANY_CONTAINER = ""  # every cgroup's name contains it


@pytest.fixture
def parent() -> Iterator["subprocess.Popen[bytes]"]:
    """A shell whose child keeps the shell's standard output open."""
    with subprocess.Popen(["sh", "-c", "sleep 300 & echo started; wait"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"started\n"
        yield process
        kill_tree(process.pid, ANY_CONTAINER)


def test_descendants_are_killed_too(parent: "subprocess.Popen[bytes]") -> None:
    kill_tree(parent.pid, ANY_CONTAINER)
    assert parent.stdout is not None
    assert select.select([parent.stdout], [], [], ENDED_SECONDS)[0]
    assert parent.stdout.read() == b""  # both ends are closed


def test_a_process_of_another_container_is_not_killed(parent: "subprocess.Popen[bytes]") -> None:
    kill_tree(parent.pid, "0123456789abcdef")
    with pytest.raises(subprocess.TimeoutExpired):
        parent.wait(0.5)
