"""Help texts: one line per command that click does not cut at 80 columns, and a text for every option."""

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from conductor.cli import COMMANDS, GROUPS, conductor


def command(path: str) -> click.Command:
    found: click.Command = conductor
    for word in path.split():
        assert isinstance(found, click.Group)
        inner = found.get_command(click.Context(found), word)
        assert inner is not None
        found = inner
    return found


def subcommands(path: str) -> Iterator[str]:
    """All commands below a group, as on the command line."""
    group = command(path)
    if isinstance(group, click.Group):
        for name in group.list_commands(click.Context(group)):
            yield f"{path} {name}"


@pytest.mark.parametrize("path", ["", *GROUPS, *COMMANDS])
def test_no_line_is_cut(path: str) -> None:
    if not isinstance(command(path), click.Group):
        return
    result = CliRunner(env={"COLUMNS": "80"}).invoke(conductor, [*path.split(), "--help"])
    assert result.exit_code == 0
    assert "..." not in result.output.partition("Commands:")[2]
    assert max(map(len, result.output.splitlines())) <= 80


@pytest.mark.parametrize("group", [*GROUPS, *COMMANDS])
def test_every_command_and_option_has_a_text(group: str) -> None:
    for path in (group, *subcommands(group)):
        found = command(path)
        assert found.help, path
        assert found.help.split("\n\n")[0].endswith("."), path
        options = [one for one in found.params if isinstance(one, click.Option)]
        assert [one.name for one in options if not one.help] == [], path
