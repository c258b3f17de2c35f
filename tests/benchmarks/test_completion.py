"""Completion of a word against a bare start of the same Python, in turns: 50 services, and a daemon that is not responding."""

import sys
from pathlib import Path

import pytest

from conductor.commands.candidates import DOCKER_SECONDS
from tests.benchmarks.figures import Figures
from tests.benchmarks.timing import bare_start_seconds, process_seconds

COMMAND = Path(sys.executable).with_name("conductor")
LINES = {
    "a command": "conductor service ",
    "an option": "conductor service upgrade --",
    "an id": "conductor service upgrade --id ",
}


def completion_seconds(environment: dict[str, str], line: str) -> float:
    asked = {"_CONDUCTOR_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    return process_seconds(COMMAND, env={**environment, **asked})


@pytest.mark.short
@pytest.mark.parametrize("kind", LINES)
def test_against_a_bare_start(figures: Figures, environment: dict[str, str], kind: str) -> None:
    figures.compare(
        f"completion of {kind}",
        lambda: completion_seconds(environment, LINES[kind]),
        bare_start_seconds,
        of="bare Python startup",
        pairs=20,
        short_pairs=7,
    )


@pytest.mark.short
def test_revisions_against_a_bare_start(figures: Figures, environment: dict[str, str]) -> None:
    """The list call is not answered; the time for which it is waited for is the same on each machine, and is left out."""
    line = "conductor service upgrade --id web7 --revision "
    figures.compare(
        "completion of a revision",
        lambda: completion_seconds(environment, line) - DOCKER_SECONDS,
        bare_start_seconds,
        of="bare Python startup",
        pairs=20,
        short_pairs=7,
    )
