"""Power is lost at every fsync of an action: what the disk has then is recovered by the next command.

A file has what it had at its last fsync, and nothing before the first. A directory has the names of its last fsync; it may also
have the later ones, since a file system may write a rename at any time.
"""

import os
import stat
from pathlib import Path

import pytest

from conductor.errors import LockYielded
from tests.unit.change.test_faults import SCENARIOS, FaultyStore, Prepared, assert_consistent

CHOSEN = ("first deploy", "upgrade", "two services", "stop-first", "not waited for", "rollback", "scale up", "stop")


class Disk:
    """The files below a directory, as they survive a loss of power. After the call of fsync with the number `ends` each raises."""

    def __init__(self, root: Path, ends: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._root, self._ends, self._fsync = root, ends, os.fsync
        self.calls = 0
        self._contents: dict[int, bytes] = {}  # by inode
        self._names: dict[Path, dict[str, int]] = {}  # by directory
        self._held: list[int] = []  # so that no inode is used again
        for path in [root, *root.rglob("*")]:
            handle = os.open(path, os.O_RDONLY)
            self._keep(handle)
            os.close(handle)
        monkeypatch.setattr(os, "fsync", self._synced)

    def _synced(self, handle: int) -> None:
        self._fsync(handle)
        if self.calls == self._ends:
            raise LockYielded  # as at SIGKILL: nothing is undone
        self.calls += 1
        self._keep(handle)

    def _keep(self, handle: int) -> None:
        status, path = os.fstat(handle), Path(f"/proc/self/fd/{handle}").readlink()
        if stat.S_ISDIR(status.st_mode):
            self._names[path] = {entry.name: entry.inode() for entry in os.scandir(path)}
        else:
            self._contents[status.st_ino] = path.read_bytes()
        self._held.append(os.dup(handle))

    def lose_power(self, *, later_names: bool) -> None:
        """Make the directory what the disk has."""
        names = self._names
        if later_names:
            found = [self._root, *(path for path in self._root.rglob("*") if path.is_dir())]
            names = {path: {entry.name: entry.inode() for entry in os.scandir(path)} for path in found}
        files = {
            path / name: self._contents.get(inode, b"") for path, ones in names.items() for name, inode in ones.items()
        }
        inodes = {path: path.stat().st_ino for path in names if path.exists()}
        for handle in self._held:
            os.close(handle)
        for path in sorted(self._root.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        for directory in sorted(names):  # one whose name its parent does not have is gone with its files
            if directory == self._root or names.get(directory.parent, {}).get(directory.name) == inodes[directory]:
                directory.mkdir(exist_ok=True)
        for path, content in files.items():
            if path not in names and path.parent.is_dir():
                path.write_bytes(content)


@pytest.mark.parametrize("later_names", [False, True], ids=["names of the last fsync", "later names"])
@pytest.mark.parametrize("name", CHOSEN)
def test_the_disk_at_every_fsync(name: str, later_names: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario, ends, reached = SCENARIOS[name], 0, True
    host = Prepared(tmp_path, scenario)
    while reached:
        world = host.world()
        world.store.directory.mkdir(exist_ok=True)
        with monkeypatch.context() as patched:
            disk = Disk(world.store.directory, ends, patched)
            try:
                scenario.act(world)
                reached = False
            except LockYielded:
                pass
        disk.lose_power(later_names=later_names)
        world.store = FaultyStore(world.store.directory)
        world.recover(tuple(scenario.services))
        assert_consistent(world, scenario, f"after fsync {ends}")
        ends += 1
    assert ends > 10
