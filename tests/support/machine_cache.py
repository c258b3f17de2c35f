"""What would be made for every machine anew and is kept between them: images as a file, and what was installed on one."""

import contextlib
import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tests.support.host_image import only_one
from tests.support.images import cache_dir
from tests.support.machine_network import docker

SAVED = 3  # sets of images
KEPT = 6  # installations


class Words(Protocol):
    """`Machine.words`."""

    def __call__(self, *words: str, stdin: bool = ...) -> list[str]: ...


def saved(names: tuple[str, ...]) -> Path:
    """The images as one file, in which they share their layers; the latest few are kept."""
    ids = docker("image", "inspect", "--format", "{{.Id}}", *names).stdout
    digest = hashlib.sha256(repr((sorted(names), ids)).encode()).hexdigest()[:16]
    tar = cache_dir() / f"saved-{digest}.tar"
    with only_one("saved"):
        if not tar.exists():
            beside = tar.with_suffix(".new")
            docker("save", "--output", str(beside), *names)
            beside.rename(tar)
        tar.touch()
        for old in sorted(cache_dir().glob("saved-*.tar"), key=lambda path: path.stat().st_mtime)[:-SAVED]:
            old.unlink()
    return tar


@contextlib.contextmanager
def kept(words: Words, directory: str, key: str) -> Iterator[None]:
    """A directory of the machine as the first one that came here with this `key` made it, within the block. To unpack it
    takes a second, to install it ten."""
    tar = cache_dir() / f"kept-{key}.tar"
    with only_one("kept"):
        there = tar.exists()
        if there:
            tar.touch()
            with tar.open("rb") as stream:
                subprocess.run(words("tar", "-C", "/", "-x", stdin=True), stdin=stream, check=True)
            yield
            return
        yield
        beside = tar.with_suffix(".new")
        with beside.open("wb") as stream:
            subprocess.run(words("tar", "-C", "/", "-c", directory.lstrip("/")), stdout=stream, check=True)
        beside.rename(tar)
        for old in sorted(cache_dir().glob("kept-*.tar"), key=lambda path: path.stat().st_mtime)[:-KEPT]:
            old.unlink()
