"""What tests on the real parts need, told in one sentence instead of a hundred failures."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.nginx import BINARY

# Debian 13 has no packer. On Debian 12, a missing one fails the tests.
needs_packer = pytest.mark.skipif(
    shutil.which("packer") is None and platform.freedesktop_os_release().get("VERSION_CODENAME") != "bookworm",
    reason="this system has no package of packer",
)


def need_real_parts() -> None:
    """End the run when something is missing. `tests/run` sees to it."""
    missing = [] if os.geteuid() == 0 else ["root"]
    try:
        answers = subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0
    except OSError:
        answers = False
    if not answers:
        missing.append("a running Docker daemon")
    if not Path(BINARY).exists():
        missing.append("nginx")
    if missing:
        pytest.exit(f"these tests need {', '.join(missing)}: run `tests/run integration` as root", returncode=2)
