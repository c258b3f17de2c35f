"""Conductor and what it depends on as wheels for a test host of any release, which reaches no package registry.

The dependencies are fetched once for a set of requirements, the wheel of Conductor is built once for a state of its source.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from tests.support.commands import ROOT
from tests.support.host_image import RELEASES, only_one
from tests.support.images import cache_dir

SOURCE = ("pyproject.toml", "requirements.lock", ".packaging", "README.md", "LICENSE", "conductor")
LINTERS = ("import-linter", "mypy", "ruff", "types-")
KEPT = 4  # directories of earlier states: other runs may be using them


class WheelError(RuntimeError):
    """The wheels could not be made; the message holds what pip said."""


def dependencies_of_tests() -> list[str]:
    """What the tests need beyond Conductor itself."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    # `conductor[EXTRA]` would be looked for in the index, which has another project of this name.
    dev = [one for one in extras.pop("dev") if not one.startswith((*LINTERS, "conductor["))]
    extras.pop("figures")  # only the benchmarks draw pictures
    return [*dev, *(one for extra in extras.values() for one in extra)]


def wheelhouse(*, for_tests: bool = False) -> Path:
    """A directory with all wheels, Conductor's among them. `for_tests`: also those that the tests need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    dependencies = project["dependencies"] + project["optional-dependencies"]["web"]
    dependencies += dependencies_of_tests() if for_tests else []
    pythons = [release.python for release in RELEASES]
    directory = cache_dir() / f"wheels-{_digest(repr((dependencies, pythons)).encode(), *_source())}"
    with only_one("wheels"):
        if not directory.exists():
            beside = Path(tempfile.mkdtemp(prefix=".wheels-", dir=cache_dir()))
            try:
                for python in pythons:
                    _pip("download", *_for_host(python), "--dest", str(beside), *dependencies)
                _build(beside)
                beside.rename(directory)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        directory.touch()
        made = sorted(cache_dir().glob("wheels-*"), key=lambda path: path.stat().st_mtime)
        for old in made[:-KEPT]:
            shutil.rmtree(old) if old.is_dir() else None
    return directory


def _source() -> list[bytes]:
    files = [p for name in SOURCE for p in ([ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*"))]
    kept = sorted(path for path in files if path.is_file() and "__pycache__" not in path.parts)
    return [str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes() for path in kept]


def _digest(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _for_host(python: str) -> list[str]:
    machine = platform.machine()
    platforms = [f"manylinux_2_{n}_{machine}" for n in (36, 35, 34, 31, 28, 27, 24, 17)] + [f"manylinux2014_{machine}"]
    words = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python]
    return [*words, *(word for name in platforms for word in ("--platform", name))]


def _build(into: Path) -> None:
    """From a copy: setuptools writes beside the source."""
    with tempfile.TemporaryDirectory(prefix="conductor-wheel-") as directory:
        for name in SOURCE:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, Path(directory, name), ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, directory)
        _pip("wheel", "--no-deps", "--wheel-dir", str(into), directory)


def _pip(*words: str) -> None:
    pinned = {"PIP_CONSTRAINT": str(ROOT / "requirements.lock")}
    environment = {**os.environ, **pinned, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words], capture_output=True, text=True, check=False, env=environment
    )
    if done.returncode:
        raise WheelError(f"cannot run pip {words[0]}: {(done.stderr or done.stdout)[-2000:]}")
