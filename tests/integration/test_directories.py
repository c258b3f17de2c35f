"""Each of Conductor's directories full, read-only or closed, and its files replaced by something else: a table.

A command names the path and the cause, the old release keeps serving, and the next command leaves nothing. The state directory alone,
and damaged state files, are in `test_state_trouble.py`.
"""

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.integration.test_state_trouble import fill, full_disk, mounted, read_only
from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.host import TestHost, merged

CRON = merged(QUICK, {"cron": {"generate": ["echo", "* * * * * true"]}})
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2  # linux/prctl.h, linux/capability.h
NOBODY = 65534


def obey_modes() -> None:
    """Let this process, and what it executes, be refused by file modes as other users are."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        if libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


@contextlib.contextmanager
def filled(path: Path) -> Iterator[None]:
    with full_disk(path) as filling:
        fill(filling)
        yield
        filling.unlink()


@contextlib.contextmanager
def without_inodes(path: Path) -> Iterator[None]:
    """No file can be created."""
    with mounted("-t", "tmpfs", "-o", "nr_inodes=1,mode=700", "tmpfs", str(path)):
        yield


@contextlib.contextmanager
def closed(path: Path) -> Iterator[None]:
    """It belongs to another user, and is open to nobody else."""
    before = path.stat()
    os.chown(path, NOBODY, NOBODY)
    path.chmod(0o700 if path.is_dir() else 0o600)
    try:
        yield
    finally:
        os.chown(path, before.st_uid, before.st_gid)
        path.chmod(before.st_mode & 0o7777)


@contextlib.contextmanager
def a_directory(path: Path) -> Iterator[None]:
    """A directory stands where the file is expected."""
    kept = path.with_name(f"{path.name}.kept")
    path.rename(kept)
    path.mkdir()
    try:
        yield
    finally:
        path.rmdir()
        kept.rename(path)


@contextlib.contextmanager
def a_dead_link(path: Path) -> Iterator[None]:
    """A link to itself."""
    kept = path.with_name(f"{path.name}.kept")
    path.rename(kept)
    path.symlink_to(path)
    try:
        yield
    finally:
        path.unlink()
        kept.rename(path)


State, Nginx, Cron, Locks = (
    lambda host: host.state_dir, lambda host: host.nginx.include_dir, lambda host: host.cron_dir,
    lambda host: host.runtime_dir / "locks",
)  # fmt: skip
Place = Callable[[TestHost], Path]
Fault = Callable[[Path], AbstractContextManager[None]]
long = pytest.mark.long
CASES: dict[str, tuple[Place, Fault, int, str]] = {
    "locks without inodes": (Locks, without_inodes, 1, "No space left on device"),
    "nginx full": (Nginx, filled, 1, "No space left on device"),
    "cron full": (Cron, filled, 4, "No space left on device"),
    "cron read-only": (Cron, read_only, 1, "not writable"),
    "state closed": (State, closed, 1, "Permission denied"),
    "locks closed": (Locks, closed, 1, "Permission denied"),
    "nginx closed": (Nginx, closed, 1, "Permission denied"),
    "cron closed": (Cron, closed, 1, "not writable"),
    "a closed wanted state": (lambda host: host.state_dir / "services" / "web.json", closed, 1, "Permission denied"),
    "a directory as wanted state": (lambda host: host.state_dir / "services" / "web.json", a_directory, 1, "Is a directory"),
    "a directory as addresses": (lambda host: host.state_dir / "addresses.json", a_directory, 1, "Is a directory"),
    "a link as wanted state": (lambda host: host.state_dir / "services" / "web.json", a_dead_link, 1, "symbolic links"),
}  # fmt: skip
SHORT = ("locks without inodes", "cron full", "state closed")


@pytest.fixture
def with_cron(serving: TestHost) -> TestHost:
    serving.define({"web": CRON})
    serving.conductor("service", "restart", "--id", "web", check=True)
    return serving


@pytest.mark.parametrize("name", [name if name in SHORT else pytest.param(name, marks=long) for name in CASES])
def test_an_upgrade(with_cron: TestHost, name: str) -> None:
    host, (place, fault, code, cause) = with_cron, CASES[name]
    path = place(host)
    with fault(path):
        result = host.upgrade("r2", preexec_fn=obey_modes if fault is closed else None)
        if code == 1:
            failed(result, 1, str(path), cause)
            assert host.get().revision == "r1"
            # Without its directory nginx cannot be proven to have left the new replicas: both sets stay.
            assert host.revisions() in ([["r1"], ["r1", "r2"]] if place is Nginx else [["r1"]])
        else:
            assert result.code == code, result
            assert cause in result.stderr
            assert host.get().revision == "r2"
    host.upgrade("r1", check=True)
    nothing_left_behind(host, "r1")
    assert "--revision r1 " in (host.cron_dir / "conductor-web").read_text()


def test_a_link_in_place_of_a_file_is_replaced_and_what_it_names_stays(with_cron: TestHost, tmp_path: Path) -> None:
    """As an attacker who can write one of the directories would place it: nothing outside is written, or gets another mode."""
    host, other = with_cron, tmp_path / "other"
    targets = []
    paths = [
        host.state_dir / "services" / "web.json",
        host.state_dir / "addresses.json",
        host.nginx.include_dir / "web.conf",
    ]
    for number, path in enumerate(paths):
        target = other.with_name(f"other{number}")
        target.write_bytes(path.read_bytes())
        target.chmod(0o644)
        path.unlink()
        path.symlink_to(target)
        targets.append((path, target, target.read_bytes()))
    beside = host.state_dir / "services" / ".web.json.new"  # the name of a temporary file
    other.write_text("of somebody else")
    beside.symlink_to(other)
    host.upgrade("r2", check=True)
    assert other.read_text() == "of somebody else"
    for path, target, before in targets:
        assert target.read_bytes() == before
        assert target.stat().st_mode & 0o777 == 0o644
        assert not path.is_symlink()
    host.upgrade("r1", check=True)
    nothing_left_behind(host, "r1")


def test_modes(with_cron: TestHost) -> None:
    """No file of Conductor's can be written by others; those with state, locks and crontabs can be read by root alone."""
    host = with_cron
    found = subprocess.run(
        ["find", host.state_dir, host.runtime_dir / "locks", host.cron_dir, "-printf", "%m %y %p\\n"],
        check=True, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    wrong = []
    for line in found:
        mode, kind, path = line.split(" ", 2)
        wanted = {"d": {"700", "755"}, "f": {"600"}}[kind]
        wrong += [] if mode in wanted else [line]
        assert not path.startswith(str(host.state_dir)) or kind == "f" or mode == "700", line
    assert wrong == []
    public = subprocess.run(
        ["find", host.nginx.include_dir, host.runtime_dir, host.config, "-perm", "/022", "!", "-type", "l", "!", "-type", "s"],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert public == ""
