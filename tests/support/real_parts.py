"""What tests on the real parts need, told in one sentence instead of a hundred failures."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.support.nginx import BINARY


def need_real_parts() -> None:
    """End the run when something is missing. `tests/run` sees to it."""
    missing = [] if os.geteuid() == 0 else ["root"]
    try:
        answers = subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0
    except OSError:
        answers = False
    if not answers:
        missing.append("a Docker daemon that answers")
    if not Path(BINARY).exists():
        missing.append("nginx")
    if missing:
        pytest.exit(f"these tests need {', '.join(missing)}: run `tests/run integration` as root", returncode=2)
