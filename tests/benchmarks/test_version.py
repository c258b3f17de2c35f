"""`conductor --version` against a bare start of the same Python, in turns."""

import os
import sys
from pathlib import Path

import pytest

from tests.benchmarks.figures import Figures
from tests.benchmarks.timing import bare_start_seconds, compiled, process_seconds

COMMAND = Path(sys.executable).with_name("conductor")


@pytest.mark.short
def test_against_a_bare_start(figures: Figures) -> None:
    figures.compare(
        "--version",
        lambda: process_seconds(COMMAND, "--version", env=compiled(os.environ)),
        bare_start_seconds,
        of="a bare start of Python",
        pairs=30,
        short_pairs=15,
    )
