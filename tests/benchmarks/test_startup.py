"""Where the time of a command goes: the start of Python, the modules that the command imports, and all else."""

import subprocess
import sys
from itertools import cycle

import pytest

from tests.benchmarks.figures import Figures
from tests.benchmarks.names import SHARES
from tests.benchmarks.timing import bare_start_seconds, compiled, median, process_seconds
from tests.support.aftermath import QUICK
from tests.support.host import TestHost

ROUNDS = 15
IMPORT_ALL = """
import contextlib, gc, importlib, os, sys
gc.set_threshold(50_000)  # as `conductor` does
for name in sys.argv[1:]:
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
os._exit(0)  # likewise
"""


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("service list", ("service", "list")),
        ("run", ("run", "--id", "web", "true")),
        ("service upgrade", ("service", "upgrade", "--id", "web", "--revision")),
    ],
)
def test_shares_of_a_command(images: None, figures: Figures, name: str, words: tuple[str, ...]) -> None:
    revisions = cycle(("r2", "r1"))
    with TestHost() as host:
        host.define({"web": QUICK})
        host.upgrade("r1", check=True)
        environment = compiled(host.environment())

        def command(*options: str) -> tuple[str, ...]:
            last = (next(revisions),) if words[-1] == "--revision" else ()
            return (sys.executable, *options, "-m", "conductor", *words, *last)

        printed = subprocess.run(
            command("-X", "importtime"),
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        ).stderr
        lines = (line for line in printed.splitlines() if line.startswith("import time:"))
        modules = [line.rpartition("|")[2].strip() for line in lines][1:]
        found: list[tuple[float, float, float]] = []
        for _ in range(figures.number(ROUNDS, 0)):
            figures.look()
            found.append(
                (
                    bare_start_seconds(),
                    process_seconds(sys.executable, "-c", IMPORT_ALL, *modules, env=environment),
                    process_seconds(*command(), env=environment),
                )
            )
    python, imported, whole = (median(column) for column in zip(*found, strict=True))
    figures.report(
        f"{SHARES}{name}",
        python=python,
        imports=imported - python,
        rest=whole - imported,
        all=whole,
        modules=len(modules),
    )
