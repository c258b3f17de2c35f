"""A clean clone of this checkout, from which packages are built; changes that are not committed here are its last commit."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.commands import ROOT

WHO = ("-c", "user.name=Conductor's tests", "-c", "user.email=tests@conductor.test", "-c", "commit.gpgsign=false")


def clone(into: Path) -> Path:
    """Clone into a new directory; return it."""
    git(ROOT, "clone", "--quiet", "--no-hardlinks", str(ROOT), str(into))
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, listed):
        (into / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, into / name)
        else:
            (into / name).unlink(missing_ok=True)
    if git(into, "status", "--porcelain"):
        commit(into, "changes")
    return into


def commit(repository: Path, message: str, *options: str) -> str:
    """Commit everything; return the commit."""
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", message, *options)
    return git(repository, "rev-parse", "HEAD")


def git(directory: Path, *words: str) -> str:
    """Return what git printed, without the last newline."""
    safe = {**os.environ, "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
    done = subprocess.run(["git", *WHO, *words], cwd=directory, check=True, capture_output=True, text=True, env=safe)
    return done.stdout.rstrip("\n")
