"""conductor(8): all commands and options are in it, and equal versions print equal pages."""

import re
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from conductor.cli import conductor
from conductor.commands.help import pages
from conductor.commands.man_page import man_page
from conductor.commands.variables import CommandLineOnly

PAGE = man_page(conductor, pages())


def commands(command: click.Command = conductor, path: str = "conductor") -> Iterator[tuple[str, click.Command]]:
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            inner = command.get_command(click.Context(command), name)
            assert inner is not None
            yield from commands(inner, f"{path} {name}")


def plain(roff: str) -> str:
    """The text without the escapes that the page uses."""
    for escape, text in {"\\fB": "", "\\fR": "", "\\fI": "", "\\&": "", "\\-": "-", "\\(aq": "'", "\\(ti": "~"}.items():
        roff = roff.replace(escape, text)
    return re.sub(r"\\\[u([0-9A-F]{4})\]", lambda found: chr(int(found[1], 16)), roff)


@pytest.mark.parametrize(("path", "command"), [pytest.param(*one, id=one[0]) for one in commands()])
def test_a_command_has_its_help_and_its_options(path: str, command: click.Command) -> None:
    heading = re.search(rf"^\.SS {re.escape(path)} ?\[.*\n", plain(PAGE), re.MULTILINE)
    assert heading is not None
    section = re.split(r"^\.S[SH] ", plain(PAGE)[heading.end() :], maxsplit=1, flags=re.MULTILINE)[0]
    assert " ".join((command.help or "").split("\n\n")[0].split()) in section
    for option in (one for one in command.params if isinstance(one, click.Option)):
        if {"--verbose", "--quiet"}.isdisjoint(option.opts):
            assert re.search(rf"^\.TP\n(-\w, )?{option.opts[-1]}\b", section, re.MULTILINE), option.opts
            assert (str(option.envvar) in section) is not isinstance(option, CommandLineOnly)


def test_options_of_all_commands_are_described_once() -> None:
    for option in ("--version", "--verbose", "--quiet", "-h, --help"):
        assert plain(PAGE).count(f"\n{option}\n") == 1


def test_the_manual_is_a_part_of_it() -> None:
    headings = re.findall(r"^\.SH (.*)$", PAGE, re.MULTILINE)
    assert headings == [
        "NAME", "SYNOPSIS", "OPTIONS", "COMMANDS", "EXIT STATUS", "OUTPUT", "INTERRUPTS", "COMPLETION",
        "VERBOSE AND QUIET", "TIMES AND DURATIONS", "ENVIRONMENT", "SEE ALSO",
    ]  # fmt: skip
    sections = re.split(r"^\.SH .*\n", PAGE, flags=re.MULTILINE)[1:]
    assert [heading for heading, text in zip(headings, sections, strict=True) if len(text.split()) < 4] == []
    assert "\n.IP \\(bu 2\n5: busy. The message shows which process" in PAGE
    assert all(f".TP\n\\fB{topic}\\fR\n" in PAGE for topic in pages())


def test_it_has_no_text_that_roff_would_interpret() -> None:
    assert PAGE.isascii()
    for line in PAGE.splitlines():
        assert line
        assert re.match(r"\.(TH|SH|SS|TP|PP|IP|RS|RE|nf|fi|nh|ad)\b|[^.']", line), line


def test_it_is_printed_equal_each_time() -> None:
    for _ in range(2):
        result = CliRunner(env={"COLUMNS": "40", "LANG": "de_DE.UTF-8"}).invoke(conductor, ["help", "--man"])
        assert (result.exit_code, result.stdout) == (0, PAGE)
