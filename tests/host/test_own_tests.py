"""The project's own tests on a whole host: with the Python, the Docker Engine and the nginx of its release."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.support.commands import ROOT
from tests.support.host_image import Release
from tests.support.machine import Machine
from tests.support.site import load_app
from tests.support.wheels import dependencies_of_tests, wheelhouse

pytestmark = pytest.mark.long
SOURCE, WHEELS, VENV = "/srv/conductor", "/srv/wheels", "/srv/venv"
NOT_SOURCE = (".git", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache", "__pycache__", "*.egg-info")
REAL_PARTS = (
    "tests/integration/test_traffic.py",
    "tests/integration/test_runtime_contract.py",
    "tests/integration/test_traffic_contract.py",
)
TIMEOUT_SECONDS = 1200


@pytest.fixture(scope="module")
def machine(images: None, release: Release) -> Iterator[Machine]:
    """A host with a copy of the source and an environment of its own Python."""
    with Machine("tests", release=release) as made:
        load_app(made)
        made.copy(wheelhouse(for_tests=True), WHEELS)
        without = [f"--exclude={name}" for name in NOT_SOURCE]
        source = subprocess.run(["tar", "-C", ROOT, *without, "-c", "."], check=True, capture_output=True).stdout
        made.run("sh", "-c", f"mkdir {SOURCE} && tar -C {SOURCE} --no-same-owner -x", input=source)
        made.run("python3", "-m", "venv", VENV)
        pip = (f"{VENV}/bin/pip", "install", "--quiet", "--no-index", "--find-links", WHEELS)
        made.run(*pip, "conductor", *dependencies_of_tests(), timeout=300)
        yield made


def test_unit(machine: Machine) -> None:
    run(machine, "--numprocesses", "2", "tests/unit")


@pytest.mark.parametrize("name", REAL_PARTS)
def test_real_parts(machine: Machine, name: str) -> None:
    run(machine, name)


def run(machine: Machine, *words: str) -> None:
    """Run tests on the machine, and print their last line."""
    script = f'cd {SOURCE} && PATH={VENV}/bin:$PATH exec pytest -p no:cacheprovider "$@"'
    ran = machine.run("sh", "-c", script, "run", *words, timeout=TIMEOUT_SECONDS)
    print(f"{' '.join(words)}: {ran.stdout.splitlines()[-1]}")
