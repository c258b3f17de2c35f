"""The Debian package of this checkout, and the package of its next version; built once for a state of the source."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from conductor import __version__
from tests.support.clone import clone, git
from tests.support.host_image import only_one
from tests.support.images import cache_dir

SOURCE = (
    *("conductor", "examples/debian", ".packaging", "pyproject.toml", "requirements.lock", "LICENSE", "README.md"),
    "tests/support/debs.py",
)
BUILD = "examples/debian/build"
NEXT = "99.0.0"  # the version of the package that follows
KEPT = 3  # directories of earlier states
MAINTAINER = {"DEBFULLNAME": "Conductor's tests", "DEBEMAIL": "tests@conductor.test"}


class Debs(NamedTuple):
    """`later` is the same program under a higher version."""

    first: Path
    later: Path


def debs() -> Debs:
    """Build both unless an earlier run has built them from the same files."""
    with only_one("debs"), tempfile.TemporaryDirectory(prefix="conductor-debs-") as work:
        repository = clone(Path(work, "conductor"))
        made_of = git(repository, "rev-parse", *(f"HEAD:{name}" for name in SOURCE))
        directory = cache_dir() / f"debs-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"
        if not directory.exists():
            made = Path(work, "made")
            repacked(build(repository, made), made)
            beside = Path(tempfile.mkdtemp(prefix=".debs-", dir=cache_dir()))
            shutil.copytree(made, beside, dirs_exist_ok=True)
            beside.rename(directory)
        directory.touch()
        for old in sorted(cache_dir().glob("debs-*"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            shutil.rmtree(old)
    [first], [later] = directory.glob(f"conductor_{__version__}*.deb"), directory.glob(f"conductor_{NEXT}*.deb")
    return Debs(first, later)


def build(repository: Path, into: Path) -> Path:
    """Run the script of `examples/` in a clone; return the package."""
    words = [repository / BUILD, into]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **MAINTAINER})
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def repacked(package: Path, into: Path, version: str = NEXT) -> Path:
    """Write the package that the script would build if only the version were another; a build takes a minute."""
    with tempfile.TemporaryDirectory(prefix="conductor-repacked-") as work:
        tree = Path(work, "tree")
        subprocess.run(["dpkg-deb", "--raw-extract", package, tree], check=True)
        for name in ("DEBIAN/control", "DEBIAN/postinst", "opt/conductor/deb/package/bin/conductor"):
            replace(tree / name, f"{__version__}+", f"{version}+")
        [init] = tree.glob("opt/conductor/deb/package/lib/python3.11/site-packages/conductor/__init__.py")
        replace(init, f'"{__version__}"', f'"{version}"')
        path = into / package.name.replace(__version__, version)
        subprocess.run(["dpkg-deb", "-Zxz", "-z0", "--build", tree, path], check=True, capture_output=True)
    return path


def replace(path: Path, old: str, new: str) -> None:
    """Replace a text, which must be there."""
    text = path.read_text()
    assert old in text, path
    path.write_text(text.replace(old, new))
