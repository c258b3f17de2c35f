"""What integration tests need before any of them runs: root, the Docker daemon and nginx. `tests/run` sees to it."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.nginx import BINARY


@pytest.fixture(scope="session", autouse=True)
def real_parts() -> None:
    """One clear sentence instead of a hundred failures."""
    missing = [] if os.geteuid() == 0 else ["root"]
    if subprocess.run(["docker", "version"], capture_output=True, check=False).returncode:
        missing.append("a Docker daemon that answers")
    if not Path(BINARY).exists():
        missing.append("nginx")
    if missing:
        pytest.exit(
            f"integration tests need {', '.join(missing)}: run `tests/run integration` as root", returncode=2
        )
