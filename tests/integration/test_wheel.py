"""The wheel of a clean clone: what is in it, and that pipx installs it with the pinned versions. Docker is not used."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.clone import clone, git
from tests.support.commands import ROOT

LOCK = ROOT / "requirements.lock"
PIPX = {"pip", "setuptools", "wheel", "packaging"}  # what it puts into each environment


@pytest.fixture(scope="session", autouse=True)
def real_parts() -> None:
    """Replace the fixture that requires Docker and nginx."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clone(tmp_path_factory.mktemp("wheel") / "conductor")


@pytest.fixture(scope="module")
def wheel(repository: Path) -> Path:
    """`build/` still has the files of an earlier commit: one file more, and its commit in a file that has not changed since."""
    earlier = repository / "build" / "lib" / "conductor"
    earlier.mkdir(parents=True)
    (earlier / "removed_since.py").touch()
    text = (repository / "conductor" / "__init__.py").read_text()
    (earlier / "__init__.py").write_text(text.replace('COMMIT = ""', f'COMMIT = "{"0" * 40}"'))
    pip("wheel", "--no-deps", "--wheel-dir", str(repository.parent), str(repository))
    [built] = repository.parent.glob("conductor-*.whl")
    return built


def pip(*words: str) -> str:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pinned() -> dict[str, str]:
    pairs = (line.split("==") for line in LOCK.read_text().splitlines())
    return {canonicalize_name(name): version for name, version in pairs}


def test_the_wheel_has_the_files_of_the_commit_and_no_other(repository: Path, wheel: Path) -> None:
    files = zipfile.ZipFile(wheel)
    names = {name for name in files.namelist() if name.startswith("conductor/")}
    assert names == set(git(repository, "ls-files", "conductor").splitlines())
    assert f'COMMIT = "{git(repository, "rev-parse", "HEAD")}"' in files.read("conductor/__init__.py").decode()
    assert git(repository, "status", "--porcelain") == ""


@pytest.mark.long
def test_pipx_installs_it_with_the_pinned_versions(repository: Path, tmp_path: Path) -> None:
    """The commands are those of the manual."""
    run_block("install", "rm -f conductor-", repository, tmp_path)
    command = tmp_path / "bin" / "conductor"
    commit = git(repository, "rev-parse", "--short=12", "HEAD")
    printed = subprocess.run([command, "--version"], cwd="/", capture_output=True, text=True, check=True).stdout
    assert re.fullmatch(rf"conductor \d+\.\d+\.\d+ \({commit}\)\n", printed)
    for page in ("changelog", "definitions"):
        shown = subprocess.run([command, "help", page], capture_output=True, text=True, check=True).stdout
        assert shown == (ROOT / f"conductor/manual/{page}.md").read_text()
    python = Path(os.path.realpath(command).rpartition("/")[0], "python")
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "--python", python, "list", "--format", "json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    installed = {canonicalize_name(one["name"]): one["version"] for one in json.loads(listed.stdout)}
    assert pinned().items() <= installed.items()
    assert installed.keys() - pinned() <= {"conductor", *PIPX}
    run_block("removal", "PIPX_HOME=", repository, tmp_path)
    assert not os.path.lexists(command)
    assert not python.exists()


def run_block(topic: str, start: str, repository: Path, directory: Path) -> None:
    """Run a block of a page of the manual, with the directories of pipx below another one."""
    page = (ROOT / f"conductor/manual/{topic}.md").read_text()
    [script] = re.findall(rf"```\n({start}.*?)```", page, re.DOTALL)
    for place, here in {"/opt/pipx": directory / "home", "/usr/local/bin": directory / "bin"}.items():
        assert place in script
        script = script.replace(place, str(here))
    done = subprocess.run(["sh", "-e", "-c", script], cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_pinned_versions_are_those_that_the_package_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = map(Requirement, [*project["dependencies"], *project["optional-dependencies"]["web"]])
    assert [one for one in wanted if not one.specifier.contains(pinned()[canonicalize_name(one.name)])] == []


@pytest.mark.long
def test_the_source_archive_makes_the_same_wheel(repository: Path, wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    pip("--python", python, "install", "build")
    subprocess.run([python, "-m", "build", "--outdir", tmp_path, repository], check=True, capture_output=True)
    [other] = tmp_path.glob("conductor-*.whl")
    first, second = zipfile.ZipFile(wheel), zipfile.ZipFile(other)
    assert set(first.namelist()) == set(second.namelist())
    assert first.read("conductor/__init__.py") == second.read("conductor/__init__.py")
