"""`examples/demo` runs in its own directory and is removed again.

On a machine that has Docker and nginx already, `--down` must not remove packages or stop dockerd."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "demo"
TIMEOUT_SECONDS = 300
SHORT = ("--seconds", "1", "--clients", "20")


class Demo(NamedTuple):
    """A finished demo."""

    directory: Path
    done: subprocess.CompletedProcess[str]


def demo(*words: str, program: Path = DEMO, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "CONDUCTOR_CONFIG"}
    return subprocess.run(
        [str(program), *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
        **options,
    )


def output(words: list[str]) -> list[str]:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def leftovers(directory: Path) -> list[str]:
    """Return containers, networks, volumes, images, processes and files of a demo."""
    number = output(["sh", "-c", f"printf %s {directory} | cksum"])[0]
    found = output(["docker", "ps", "--all", "--quiet", "--filter", f"label=conductor.instance=demo-{number}"])
    for kind in ("network", "volume"):
        found += output(["docker", kind, "ls", "--quiet", "--filter", f"name=conductor-demo-{number}"])
    found += output(["docker", "image", "ls", "--quiet", f"conductor-demo-{number}"])
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [path.parent.name] if str(directory).encode() in path.read_bytes() else []
        except OSError:
            continue  # the process has exited
    return found + ([str(directory)] if directory.exists() else [])


def running_revisions(directory: Path) -> list[str]:
    number = output(["sh", "-c", f"printf %s {directory} | cksum"])[0]
    instance = f"label=conductor.instance=demo-{number}"
    return output(["docker", "ps", "--filter", instance, "--format", '{{.Label "conductor.revision"}}'])


@pytest.fixture(scope="module")
def finished(images: None) -> Iterator[Demo]:
    # nginx's workers need access, and pytest's directories are private
    directory = Path(f"/var/tmp/conductor-demo-of-test-{os.getpid()}")
    try:
        yield Demo(directory, demo("--directory", str(directory), *SHORT))
    finally:
        demo("--down", "--directory", str(directory))


def test_the_demo_passes_and_down_removes_it(finished: Demo) -> None:
    directory, done = finished
    assert done.returncode == 0, done.stdout + done.stderr
    results = re.findall(r"^  (ok|FAILED) +(.*)$", done.stdout, re.MULTILINE)
    assert [word for word, _ in results] == ["ok"] * 5, done.stdout + done.stderr
    assert re.fullmatch(r"0 of [\d,]+ requests lost", results[0][1])
    assert results[2][1] == "revision r3: rolled back, exit code 1; responses came from revision r2"
    payments = re.fullmatch(r"([\d,]+) payments acknowledged, ([\d,]+) stored, each exactly once", results[4][1])
    assert payments is not None
    assert payments[1] == payments[2]
    assert "cannot reach the mandate service: connection refused" in done.stderr, "the failed app's own message"
    assert running_revisions(directory) == ["r4", "r4"]

    down = demo("--down", "--directory", str(directory))
    assert down.returncode == 0, down.stdout + down.stderr
    assert "stopped nginx" in down.stdout
    assert "packages" not in down.stdout
    assert leftovers(directory) == []
    assert demo("--down", "--directory", str(directory)).stdout == f"There is no demo in {directory}\n"


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that every user can enter, unlike pytest's directories."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="conductor-test-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_without_root_it_reports_what_is_missing_and_changes_nothing(open_to_all: Path) -> None:
    for part in ("examples", "tests/support"):
        shutil.copytree(ROOT / part, open_to_all / part, ignore=shutil.ignore_patterns("__pycache__"))
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    done = demo("--directory", str(open_to_all / "demo"), program=open_to_all / "examples" / "demo", **nobody)
    assert done.returncode == 2
    assert done.stderr.startswith("demo: must run as root, to manage nginx and Docker; nothing was changed\n")
    assert not (open_to_all / "demo").exists()


def test_a_directory_with_other_files_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    done = demo("--directory", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"demo: cannot use {tmp_path}: it is not empty, and no demo created it\n"
    assert demo("--down", "--directory", str(tmp_path)).stdout == f"There is no demo in {tmp_path}\n"
    assert (tmp_path / "mine").read_text() == "precious"
