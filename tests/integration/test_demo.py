"""`examples/demo`, run once for real in a directory of its own, and taken down again. `--down` of packages and of
dockerd happens only on a machine that had none, so here both must stay as they are."""

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


def said(words: list[str]) -> list[str]:
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()


def left_over(directory: Path) -> list[str]:
    """Whatever Docker, the process table and the disk still have of a demo, found by its number."""
    number = said(["sh", "-c", f"printf %s {directory} | cksum"])[0]
    found = said(["docker", "ps", "--all", "--quiet", "--filter", f"label=conductor.instance=demo-{number}"])
    for kind in ("network", "volume"):
        found += said(["docker", kind, "ls", "--quiet", "--filter", f"name=conductor-demo-{number}"])
    found += said(["docker", "image", "ls", "--quiet", f"conductor-demo-{number}"])
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += [path.parent.name] if str(directory).encode() in path.read_bytes() else []
        except OSError:
            continue  # it ended meanwhile
    return found + ([str(directory)] if directory.exists() else [])


@pytest.fixture(scope="module")
def finished(images: None) -> Iterator[Demo]:
    # nginx's workers must be able to pass, which pytest's own directories do not allow
    directory = Path(f"/var/tmp/conductor-demo-of-test-{os.getpid()}")
    try:
        yield Demo(directory, demo("--directory", str(directory), *SHORT))
    finally:
        demo("--down", "--directory", str(directory))


def test_a_run_and_its_end(finished: Demo) -> None:
    """The whole of it as a visitor would see it; `--down` leaves nothing but what was there before."""
    directory, done = finished
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout + done.stderr
    verdict = re.findall(r"^  (ok|FAILED) +(.*)$", done.stdout, re.MULTILINE)
    assert [word for word, _ in verdict] == ["ok"] * 5, told
    assert re.fullmatch(r"0 of [\d,]+ requests lost", verdict[0][1])
    assert verdict[2][1] == "revision 3: refused, exit code 1; answers came from revision 2"
    books = re.fullmatch(r"([\d,]+) payments acknowledged, ([\d,]+) stored, each exactly once", verdict[4][1])
    assert books is not None
    assert books[1] == books[2]
    for sentence in (
        "error: cannot upgrade payments: the new containers did not become healthy",
        "cannot reach the mandate service: connection refused",
        "payments 2 still runs: 2 containers",
        "payments runs 4: 2 of 2 healthy",
    ):
        assert sentence in done.stderr

    status = subprocess.run(
        [str(directory / "conductor"), "service", "status"], capture_output=True, text=True, check=True
    )
    assert status.stdout.startswith("payments  4  2/2")

    down = demo("--down", "--directory", str(directory))
    assert down.returncode == 0, down.stdout + down.stderr
    assert "stopped nginx" in down.stdout
    assert "packages" not in down.stdout
    assert left_over(directory) == []
    assert demo("--down", "--directory", str(directory)).stdout == f"There is no demo in {directory}\n"


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A directory that every user may pass: pytest's own, and the home that holds this repository, may not be one."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="conductor-test-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_without_root_it_says_what_is_missing_and_does_nothing(open_to_all: Path) -> None:
    for part in ("examples", "tests/support"):
        shutil.copytree(ROOT / part, open_to_all / part, ignore=shutil.ignore_patterns("__pycache__"))
    nobody = {"user": "nobody", "group": "nogroup", "extra_groups": []}
    done = demo("--directory", str(open_to_all / "demo"), program=open_to_all / "examples" / "demo", **nobody)
    assert done.returncode == 2
    assert done.stderr.startswith("demo: cannot run as nobody; nothing was done. Missing:\n  root: ")
    assert not (open_to_all / "demo").exists()


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    done = demo("--directory", str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"demo: cannot use {tmp_path}: it is not empty, and no demo made it\n"
    assert demo("--down", "--directory", str(tmp_path)).stdout == f"There is no demo in {tmp_path}\n"
    assert (tmp_path / "mine").read_text() == "precious"
