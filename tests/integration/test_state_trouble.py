"""State that cannot be written or read: the command fails with the file's name, and leaves nothing once the cause is fixed."""

import contextlib
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.aftermath import QUICK, failed, nothing_left_behind
from tests.support.host import TestHost, merged

STILL = "\n  web is still running r1 with 1 replica\n"


@contextlib.contextmanager
def mounted(*words: str) -> Iterator[None]:
    """`mount ...` for a while; the last word is the mount point."""
    subprocess.run(["mount", *words], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", words[-1]], check=True)


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Even for root."""
    with mounted("--bind", str(path), str(path)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)
        yield


@contextlib.contextmanager
def full_disk(path: Path) -> Iterator[Path]:
    """`path` with what it holds on a file system of its own with little room; gives the file that takes the rest of it."""
    kept = path.with_name(f"{path.name}.kept")
    path.rename(kept)
    path.mkdir(0o700)
    with mounted("-t", "tmpfs", "-o", "size=128k,mode=700", "tmpfs", str(path)):
        subprocess.run(["cp", "-a", f"{kept}/.", str(path)], check=True)
        yield path / "filling"
        subprocess.run(["cp", "-a", f"{path}/.", str(kept)], check=True)
    path.rmdir()
    kept.rename(path)
    (path / "filling").unlink(missing_ok=True)


def fill(path: Path) -> None:
    """To the last byte."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    with contextlib.suppress(OSError):
        while os.write(handle, bytes(512)):
            pass
    os.close(handle)


def test_the_state_directory_is_read_only(serving: TestHost) -> None:
    with read_only(serving.state_dir):
        told = failed(
            serving.upgrade("r2"), 1,
            f"cannot upgrade web: cannot write {serving.state_dir}/journal/web.json: Read-only file system", STILL,
        )  # fmt: skip
        assert "start  " not in told
        nothing_left_behind(serving, "r1")
        serving.conductor("service", "status", check=True)
    serving.upgrade("r2", check=True)
    nothing_left_behind(serving, "r2")


def test_the_runtime_directory_is_read_only(serving: TestHost) -> None:
    with read_only(serving.runtime_dir):
        told = failed(serving.upgrade("r2"), 1, "cannot ", f"{serving.runtime_dir}/", "Read-only file system")
        assert "start  " not in told
        nothing_left_behind(serving, "r1")


def test_nginxs_directory_is_read_only(serving: TestHost) -> None:
    """The cutover fails, and the new containers are removed."""
    with read_only(serving.nginx.include_dir):
        failed(
            serving.upgrade("r2"), 1, f"cannot write {serving.nginx.include_dir}/web.conf: Read-only file system",
        )  # fmt: skip
        assert serving.get().revision == "r1"
    serving.upgrade("r1", check=True)
    nothing_left_behind(serving, "r1")


def test_the_disk_is_full(serving: TestHost) -> None:
    with full_disk(serving.state_dir) as filling:
        fill(filling)
        told = failed(
            serving.upgrade("r2"), 1,
            f"cannot upgrade web: cannot write {serving.state_dir}/journal/web.json: No space left on device", STILL,
        )  # fmt: skip
        assert "start  " not in told
        assert (serving.get().revision, serving.revisions()) == ("r1", ["r1"])
        filling.unlink()
        serving.upgrade("r2", check=True)
        nothing_left_behind(serving, "r2")


def test_the_disk_fills_up_at_the_gate(serving: TestHost) -> None:
    """The commit cannot be written, so the change is rolled back; with room again the next command leaves nothing."""
    serving.define({"web": merged(QUICK, {"env": {"BOOT": "1"}, "health": {"start_timeout": "10s"}})})
    with full_disk(serving.state_dir) as filling:
        upgrade = serving.spawn("service", "upgrade", "--id", "web", "--revision", "r2")
        serving.wait_for(lambda: "    gate  " in upgrade.stderr, "the gate")
        fill(filling)
        failed(upgrade.wait(30), 1, f"cannot write {serving.state_dir}/", "No space left on device", STILL)
        assert (serving.get().revision, serving.revisions()) == ("r1", ["r1"])
        filling.unlink()
        serving.upgrade("r3", check=True)
        nothing_left_behind(serving, "r3")


NEWER = '{"version": 99, "service": "web"}'


@pytest.mark.parametrize("file", ["services/web.json", "journal/web.json", "addresses.json"])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"version": 1, "serv', "it is damaged ("),
        ("", "it is damaged ("),
        ("[]", "it is damaged ("),
        (NEWER, "its format is 99; "),
    ],
    ids=["cut off", "empty", "another shape", "newer"],
)
def test_a_damaged_file_is_named(serving: TestHost, file: str, text: str, why: str) -> None:
    path = serving.state_dir / file
    path.parent.mkdir(mode=0o700, exist_ok=True)
    before = path.read_bytes() if path.exists() else None
    path.write_text(text)
    try:
        failed(
            serving.upgrade("r2"), 1, f"cannot read {path}: {why}",
            "upgrade Conductor" if text == NEWER else f"rm {path}",
        )  # fmt: skip
        assert path.read_text() == text
        assert (serving.get().revision, serving.revisions()) == ("r1", ["r1"])
    finally:
        path.unlink() if before is None else path.write_bytes(before)
    serving.upgrade("r1", check=True)  # and recovers a change that could not be ended without the file
    nothing_left_behind(serving, "r1")


def test_a_torn_last_line_of_the_history_costs_nothing_else(serving: TestHost) -> None:
    path = serving.state_dir / "history.jsonl"
    with path.open("a") as stream:
        stream.write('{"at": "2026-0')
    serving.upgrade("r2", check=True)
    lines = path.read_text().splitlines()
    assert lines[-2] == '{"at": "2026-0'
    assert json.loads(lines[-1])["to"] == "r2"
    path.write_text("\n".join([*lines[:-2], lines[-1], ""]))
    nothing_left_behind(serving, "r2")
