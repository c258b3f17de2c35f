"""The man page conductor(8): the help of all commands, and parts of the manual. Equal versions have equal pages."""

import re
from collections.abc import Iterator, Mapping

import click

from conductor import __version__
from conductor.commands.variables import CommandLineOnly

EVERYWHERE = frozenset({"--verbose", "--quiet", "--help"})  # options of all commands, described once
SECTIONS = {  # of the page in the manual, by topic, with the section's name in a man page where it has a usual one
    "commands": {"Exit codes": "EXIT STATUS", "Output": "", "Interrupts": ""},
    "shell": {"Completion": "", "Verbose and quiet": "", "Times and durations": "", "Environment variables": "ENVIRONMENT"},
}  # fmt: skip
_INLINE = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|\[[^]]+\]\((\w+)\.md\)")


def man_page(root: click.Command, manual: Mapping[str, str]) -> str:
    """Return the page as roff. `manual` is the text of each topic in Markdown."""
    context = click.Context(root, info_name="conductor", **root.context_settings)
    lines = [
        f'.TH CONDUCTOR 8 "" "conductor {__version__}" "System administration"', ".nh", ".ad l",
        ".SH NAME", f"conductor \\- {_roff(_summary(root))}",
        ".SH SYNOPSIS", f"\\fBconductor\\fR {_roff(' '.join(root.collect_usage_pieces(context)))}",
        ".SH OPTIONS", *_options(root, context, frozenset()),
        ".SH COMMANDS", *_commands(root, context),
    ]  # fmt: skip
    for topic, sections in SECTIONS.items():
        for title, usual in sections.items():
            lines += [f".SH {usual or title.upper()}", *_markdown(_section(manual[topic], title))]
    lines += [".SH SEE ALSO", ".PP", "The manual pages, which \\fBconductor help\\fR \\fITOPIC\\fR prints:"]
    for topic, text in manual.items():
        lines += [".TP", f"\\fB{_roff(topic)}\\fR", _text(text.split("\n")[2])]
    return "\n".join(lines) + "\n"


def _summary(command: click.Command) -> str:
    return (command.help or "").partition("\n")[0].rstrip(".")


def _commands(group: click.Command, parent: click.Context) -> Iterator[str]:
    """Describe all commands below a group, each with its own options."""
    for name in group.list_commands(parent) if isinstance(group, click.Group) else ():
        command = group.get_command(parent, name) if isinstance(group, click.Group) else None
        if command is None:
            continue
        context = click.Context(command, info_name=name, parent=parent)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            words = " ".join((context.command_path, *command.collect_usage_pieces(context)))
            yield f".SS {_roff(words)}"
            for paragraph in (command.help or "").split("\n\n"):
                yield from (".PP", _text(paragraph))
            yield from _options(command, context, EVERYWHERE)
        yield from _commands(command, context)


def _options(command: click.Command, context: click.Context, without: frozenset[str]) -> Iterator[str]:
    for option in command.get_params(context):
        record = option.get_help_record(context)
        if record is None or not isinstance(option, click.Option) or not without.isdisjoint(option.opts):
            continue
        yield from (".TP", f"\\fB{_roff(record[0])}\\fR", _text(record[1]))
        if not option.show_envvar and isinstance(option.envvar, str) and not isinstance(option, CommandLineOnly):
            yield f"[env var: {_roff(option.envvar)}]"


def _section(page: str, title: str) -> str:
    """Return the text below a heading, up to the next one."""
    return page.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def _markdown(text: str) -> Iterator[str]:
    """Convert paragraphs, lists and blocks of code."""
    for number, part in enumerate(re.split(r"^```.*\n", text, flags=re.MULTILINE)):
        if number % 2:
            yield from (".PP", ".RS 4", ".nf", *(_line(line) for line in part.rstrip("\n").split("\n")), ".fi", ".RE")
            continue
        for paragraph in re.split(r"\n\n|\n(?=- )", part.strip("\n")):
            if paragraph:
                yield ".IP \\(bu 2" if paragraph.startswith("- ") else ".PP"
                yield _text(paragraph.removeprefix("- "))


def _text(text: str) -> str:
    """Return a paragraph as one line, with its code and emphasis in bold."""
    return _line(" ".join(text.split()), formatted=True)


def _line(line: str, *, formatted: bool = False) -> str:
    """Return a line that does not begin with a control character of roff."""
    escaped, last = "", 0
    for found in _INLINE.finditer(line) if formatted else ():
        bold = found[1] or found[2] or f"conductor help {found[3]}"
        escaped += f"{_roff(line[last : found.start()])}\\fB{_roff(bold)}\\fR"
        last = found.end()
    escaped += _roff(line[last:])
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


def _roff(text: str) -> str:
    """Escape what roff would interpret, and everything that is not ASCII."""
    special = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
    return "".join(special.get(c) or (c if c.isascii() else f"\\[u{ord(c):04X}]") for c in text)
