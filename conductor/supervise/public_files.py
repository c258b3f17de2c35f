"""Writes the files that `conductor web` reads: every user may read them, and only root may enter the directory above them."""

from pathlib import Path

from conductor.state import files


def write(document: Path, path: Path, data: bytes) -> None:
    """Replace `path`: the document itself, or a file in a directory beside it."""
    files.make_directory(document.parent.parent, 0o700)
    files.make_directory(document.parent, 0o755)
    files.make_directory(path.parent, 0o755)
    files.write_bytes(path, data, 0o644)
