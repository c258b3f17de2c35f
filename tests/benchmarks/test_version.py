"""`conductor --version` against a bare start of the same Python, in turns."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS, BOUND = 30, 2.0


def seconds(*argv: str | Path) -> float:
    began = time.perf_counter()
    subprocess.run(argv, check=True, capture_output=True)
    return time.perf_counter() - began


def test_at_most_twice_a_bare_start():
    command = Path(sys.executable).with_name("conductor")
    pairs = [(seconds(command, "--version"), seconds(sys.executable, "-c", "")) for _ in range(ROUNDS)]
    ours, bare = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"\nconductor --version {ours * 1000:.0f} ms, python -c '' {bare * 1000:.0f} ms: {ours / bare:.2f} times")
    assert ours <= BOUND * bare
