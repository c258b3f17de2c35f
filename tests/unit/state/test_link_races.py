"""Another process puts links, pipes and directories in place of files while Conductor writes: nothing outside changes."""

import contextlib
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conductor.cancellation import SignalCancellation
from conductor.clock import Clock
from conductor.errors import ConductorError
from conductor.plan.history import HistoryEntry, Outcome
from conductor.state import files
from conductor.state.crontabs import Crontabs
from conductor.state.history import History
from conductor.state.locks import Locks

SECONDS = 0.3  # of each writer: long enough for hundreds of swaps
# Replaces each of the paths in turn, as fast as it can, until it is killed.
SWAPPER = """
import contextlib, itertools, os, shutil, sys
outside, links_and_pipes, *paths = sys.argv[1:]
def removed(path):
    with contextlib.suppress(OSError):
        shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
kinds = (
    lambda path: os.symlink(outside + "/file", path),
    lambda path: os.symlink(outside + "/directory", path),
    lambda path: os.symlink(outside + "/missing", path),
    os.mkdir,
    *([os.mkfifo, lambda path: os.link(outside + "/file", path)] if links_and_pipes else []),
)
print("ready", flush=True)
for kind in itertools.cycle(kinds):
    for path in paths:
        removed(path)
        with contextlib.suppress(OSError):
            kind(path)
"""
ENTRY = HistoryEntry(at="2026-01-01T00:00:00.000Z", service="web", action="pause", outcome=Outcome.DONE)
# Pipes, and hard links: only root can make one to a file that it cannot write (fs.protected_hardlinks). A crontab is read first,
# and of a file that is kept, such as a lock, no call tells its names at the time of the write.
HARD = "yes"
Write = Callable[[Path], None]


def hold(directory: Path) -> None:
    with Locks(directory, "x", Clock(), SignalCancellation()).hold("web"):
        pass


def make(directory: Path) -> None:
    files.make_directory(directory / "made", 0o700)


def _put(directory: Path) -> None:
    crontabs = Crontabs(str(directory))
    crontabs.put("web", None if crontabs.read("web") else "# Conductor\n")


WRITERS: dict[str, tuple[Write, tuple[str, ...], str]] = {
    "a file": (lambda at: files.write_bytes(at / "x.json", b"new"), ("x.json", ".x.json.new"), HARD),
    "a removal": (lambda at: files.remove(at / "x.json"), ("x.json", ".x.json.new"), HARD),
    "a directory": (make, ("made",), HARD),
    "a lock": (hold, ("web.lock", "web.waiting.lock"), ""),
    "a crontab": (_put, ("conductor-web", ".conductor-web.new"), ""),
}


@contextlib.contextmanager
def swapped(outside: Path, paths: list[Path], hard: str) -> Iterator[None]:
    command = [sys.executable, "-I", "-S", "-c", SWAPPER, str(outside), hard, *map(str, paths)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as swapper:
        assert swapper.stdout
        assert swapper.stdout.readline() == b"ready\n"
        try:
            yield
            assert swapper.poll() is None
        finally:
            swapper.kill()


def described(outside: Path) -> dict[str, tuple[object, ...]]:
    """Return all that must not change: names, modes, owners, contents, and times of files."""
    found = {}
    for path in (outside, *sorted(outside.rglob("*"))):
        status = path.lstat()
        is_file = stat.S_ISREG(status.st_mode)
        content = (path.read_bytes(), status.st_mtime_ns) if is_file else ()
        found[str(path)] = (oct(status.st_mode), status.st_uid, status.st_gid, *content)
    return found


@pytest.mark.parametrize("name", WRITERS)
def test_nothing_outside_changes(tmp_path: Path, name: str) -> None:
    write, names, hard = WRITERS[name]
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for path in (inside, outside, outside / "directory"):
        path.mkdir(mode=0o755)
    for path in (outside / "file", outside / "directory" / "file"):
        path.write_text("of somebody else")
        path.chmod(0o644)
    before, written, refused = described(outside), 0, set()
    with swapped(outside, [inside / one for one in names], hard):
        until = time.monotonic() + SECONDS
        while time.monotonic() < until or not (written or refused):
            try:
                write(inside)
                written += 1
            except ConductorError as error:
                refused.add(error.sentence)
    assert described(outside) == before
    assert all(one.startswith("cannot ") for one in refused)
    print(name, written, refused)


def test_the_history_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("of somebody else")
    (tmp_path / "history.jsonl").symlink_to(tmp_path / "other")
    with pytest.raises(ConductorError, match=r"cannot write .*history\.jsonl"):
        History(tmp_path).append(ENTRY)
    assert (tmp_path / "other").read_text() == "of somebody else"
