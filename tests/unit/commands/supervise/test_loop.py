"""`conductor supervise --print-unit`: the unit, and a warning where it could not start."""

import os
from pathlib import Path

import pytest

import conductor
from conductor.commands.supervise.loop import print_unit_file
from conductor.definitions.checks import missing_command

UNIT = (Path(conductor.__file__).parent / "templates/conductor-supervise.service").read_text()


def test_the_unit_is_printed_with_a_warning_if_its_program_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    program = "/usr/local/bin/conductor"
    assert f"\nExecStart={program} supervise\n" in UNIT
    print_unit_file(Path(conductor.DEFINITIONS))
    printed = capsys.readouterr()
    assert printed.out == UNIT
    expected = "" if os.access(program, os.X_OK) else f"warning: {missing_command(program, 'the unit cannot start')}\n"
    assert printed.err == expected


def test_the_unit_names_another_definitions_file(capsys: pytest.CaptureFixture[str]) -> None:
    print_unit_file(Path("/srv/my services.yml"))
    assert "\nExecStart=/usr/local/bin/conductor supervise --config '/srv/my services.yml'\n" in capsys.readouterr().out


def test_only_an_executable_file_counts(tmp_path: Path) -> None:
    path = tmp_path / "conductor"
    assert missing_command(str(path), "x") == (
        f"{path} is not an executable file, so x; run ln -s $(command -v conductor) {path}"
    )
    path.write_text("")
    assert missing_command(str(path), "x") is not None
    path.chmod(0o755)
    assert missing_command(str(path), "x") is None
