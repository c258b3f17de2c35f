"""The version of this installation, with the commit from which it was built or that is checked out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conductor import COMMIT, __version__

if TYPE_CHECKING:
    from pathlib import Path  # `conductor --version` imports it only in a checkout

COMMIT_LENGTH = 12  # hexadecimal digits


def version(built: str = COMMIT, root: Path | None = None) -> str:
    """Return the text of `--version`, for example `0.1.0 (279d9035886d)`, or `0.1.0` if the commit is unknown.

    `built` is the commit that the build wrote into the package. Without one, `root` is read as a checkout.
    """
    if built:
        hexadecimal, dash, suffix = built.partition("-")
        return f"{__version__} ({hexadecimal[:COMMIT_LENGTH]}{dash}{suffix})"
    if root is None:
        from pathlib import Path

        root = Path(__file__).parents[1]
    commit = checked_out_commit(root)
    return f"{__version__} ({commit[:COMMIT_LENGTH]})" if commit else __version__


def checked_out_commit(root: Path) -> str:
    """Return the commit that is checked out in a directory, from git's files; empty if there is none.

    Formats: gitrepository-layout(5). git is not run, so that `conductor --version` starts no other program.
    """
    git = root / ".git"
    try:
        if git.is_file():  # a second worktree
            git = root / git.read_text().removeprefix("gitdir: ").strip()
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        common = git / (git / "commondir").read_text().strip() if (git / "commondir").exists() else git
        if (common / name).is_file():
            return (common / name).read_text().strip()
        packed = (line.split() for line in (common / "packed-refs").read_text().splitlines())
        return next((words[0] for words in packed if words[1:] == [name]), "")
    except OSError:
        return ""
