"""setuptools, which also writes the commit of the checkout into the package. pyproject.toml names this build backend."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from setuptools.build_meta import *  # noqa: F403 (a build backend is a module with setuptools' functions)
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

LINE = re.compile(r'(?m)^COMMIT = ""')
PACKAGE = "conductor/__init__.py"


class BuildPy(build_py):
    """Builds the package. An editable installation keeps using the checkout."""

    def run(self) -> None:
        """Copy the package and write the commit into the copy."""
        if not self.editable_mode:  # an earlier build of another commit leaves its commit and removed files there
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        if not self.editable_mode:
            write_commit(Path(self.build_lib))


class Sdist(sdist):
    """Makes the source archive, from which a wheel has the same commit."""

    def make_release_tree(self, base_dir: str, files: Sequence[str]) -> None:
        """Copy the files and this backend, and write the commit into the copy."""
        super().make_release_tree(base_dir, [*files, ".packaging/backend.py"])
        write_commit(Path(base_dir))


def write_commit(copy: Path) -> None:
    """Write the commit into a copy of the package; the copy of a source archive has it already."""
    path = copy / PACKAGE
    text = LINE.sub(f'COMMIT = "{commit()}"', path.read_text())
    path.unlink()  # it may be a hard link to the source
    path.write_text(text)


def commit() -> str:
    """Return the commit of this checkout, with `-dirty` if files differ from it; empty outside a checkout."""
    if not Path(".git").exists() or not shutil.which("git"):
        return ""
    words = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
