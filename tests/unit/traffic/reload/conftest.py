"""A living process for tests that need one."""

import os
from pathlib import Path

import pytest

from conductor.traffic.processes import Worker, boot_id


@pytest.fixture
def own_process() -> Worker:
    """The process of this test, as a worker of nginx that lives."""
    after_name = Path(f"/proc/{os.getpid()}/stat").read_text().rpartition(")")[2]
    return Worker(os.getpid(), int(after_name.split()[19]), boot_id())
