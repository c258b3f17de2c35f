"""A living process for tests that need one."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conductor.traffic.processes import Worker, boot_id


@pytest.fixture
def living_worker() -> Iterator[Worker]:
    """A process without sockets, as a worker of nginx that lives."""
    with subprocess.Popen(["sleep", "600"]) as process:
        after_name = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2]
        yield Worker(process.pid, int(after_name.split()[19]), boot_id())
        process.kill()
