"""Programs of Debian's run on a directory of ours, in the image of a test host: nothing has to be installed here."""

import os
import subprocess
from pathlib import Path

from tests.support.host_image import ensure_host_image

COPY = 'into=$(mktemp -d) && cp -R "/given/$1/." "$into" && cd "$into" && shift && exec "$@"'


class OnDebian:
    """`with OnDebian(directory) as debian`: a container without a network that sees the directory, for reading only."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._container = ""

    def run(self, part: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run `words` in a fresh copy of a part of the directory."""
        call = ["docker", "exec", self._container, "sh", "-c", COPY, "run", part, *words]
        return subprocess.run(call, capture_output=True, text=True, check=False)

    def __enter__(self) -> "OnDebian":
        words = ["docker", "run", "--detach", "--rm", "--init", "--network", "none"]
        words += [
            "--label",
            f"conductor.instance=test-{os.getpid()}-debian",
            "--volume",
            f"{self._directory}:/given:ro",
        ]
        started = subprocess.run(
            [*words, ensure_host_image(), "sleep", "infinity"], capture_output=True, text=True, check=True
        )
        self._container = started.stdout.strip()
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run(["docker", "rm", "--force", self._container], capture_output=True, check=True)
