"""`conductor --version`, and `config check` of 50 services, against a bare start of the same Python, in turns."""

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
        of="bare Python startup",
        pairs=30,
        short_pairs=15,
    )


def test_config_check_against_a_bare_start(figures: Figures, environment: dict[str, str]) -> None:
    figures.compare(
        "config check, 50 services",
        lambda: process_seconds(COMMAND, "config", "check", env=environment),
        bare_start_seconds,
        of="bare Python startup",
        pairs=20,
    )
