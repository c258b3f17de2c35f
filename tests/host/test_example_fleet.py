"""The example of a fleet runs from its one command to its figures."""

import subprocess

import pytest

from tests.support.commands import ROOT

pytestmark = pytest.mark.long


def test_the_example(images: None) -> None:
    done = subprocess.run(
        [ROOT / "examples/fleet", "--upgrades", "2", "--clients", "4"], capture_output=True, text=True, check=False
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert done.stdout.count(": upgraded shop to ") == 3
    assert "two replicas are serving again after" in done.stdout
