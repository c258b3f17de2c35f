"""`conductor web`: its units, and what it refuses."""

import re
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from conductor.commands.web import command
from conductor.errors import ConductorError, UsageError

UNITS = {"--print-unit": "conductor-web.service", "--print-socket": "conductor-web.socket"}
TEMPLATES = Path(__file__).parents[3] / "conductor" / "templates"


@pytest.mark.parametrize("option", UNITS)
def test_the_printed_unit_is_package_data(option: str) -> None:
    result = CliRunner().invoke(command, [option])
    assert (result.exit_code, result.stdout) == (0, (TEMPLATES / UNITS[option]).read_text())


def test_a_unit_for_another_runtime_directory() -> None:
    text = CliRunner().invoke(command, ["--print-unit", "--runtime-dir", "/srv/own"]).stdout
    assert not re.search(r"/run/conductor(?!-web)", text)
    assert "\nBindReadOnlyPaths=/srv/own/public/snapshot\n" in text
    assert "\nExecStart=/usr/local/bin/conductor web --runtime-dir /srv/own\n" in text


def test_another_address_than_loopback_is_refused() -> None:
    error = CliRunner().invoke(command, ["--listen", "0.0.0.0:9750"]).exception
    assert isinstance(error, UsageError)


def test_without_its_libraries_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "conductor.web.server", raising=False)
    error = CliRunner().invoke(command, []).exception
    assert isinstance(error, ConductorError)
    assert error.hint == "install Conductor with the [web] extra; see conductor help install"
