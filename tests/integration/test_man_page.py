"""The man page as `man` reads it. These tests need neither Docker nor root."""

import os
import subprocess
from pathlib import Path

import pytest

from conductor.cli import conductor
from conductor.commands.help import pages
from conductor.commands.man_page import man_page


@pytest.fixture(scope="session", autouse=True)
def real_parts() -> None:
    """Replace the fixture that requires Docker and nginx."""


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("man") / "conductor.8"
    path.write_text(man_page(conductor, pages()))
    return path


def test_man_has_no_warnings(path: Path) -> None:
    """The command is that of Debian's lintian."""
    words = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(path)]
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"}
    done = subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    assert done.stderr == b""


def test_man_shows_words_as_they_are_typed(path: Path) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "200", "MAN_KEEP_FORMATTING": "", "PAGER": "cat"}
    shown = subprocess.run(["man", "-l", str(path)], env=environment, capture_output=True, text=True, check=True).stdout
    for text in ("--skip-hooks", "CONDUCTOR_SERVICE_UPGRADE_WAIT", "~/.config/fish/completions/conductor.fish"):
        assert text in shown
    assert "\\" not in shown
