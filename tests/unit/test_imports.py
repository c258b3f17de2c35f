"""Import cost: each command imports only the libraries that it needs."""

import subprocess
import sys

import pytest

from conductor.cli import GROUPS

HEAVY = {"docker", "requests", "jinja2", "yaml", "msgspec", "click", "ssl", "email", "secrets", "traceback"}


def imported(*words: str) -> set[str]:
    code = (
        "import os, runpy, sys; os._exit = sys.exit; sys.argv = ['conductor', *sys.argv[1:]]\n"
        "try: runpy.run_module('conductor', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "print('imported:', *(m for m in sys.modules if '.' not in m))"
    )
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return set(done.stdout.rpartition("imported:")[2].split()) & HEAVY


@pytest.mark.parametrize(
    ("words", "allowed"),
    [
        (["--version"], set()),
        (["--help"], {"click"}),
        *[([group, "--help"], {"click"}) for group in GROUPS],
        (["config", "example"], {"click", "msgspec", "yaml"}),
        (["config", "check", "--config", "/nonexistent"], {"click", "msgspec", "yaml"}),
        (["run", "--config", "/nonexistent", "--id", "web", "true"], {"click", "msgspec", "yaml"}),
    ],
)
def test_only_what_is_needed(words, allowed):
    assert imported(*words) <= allowed
