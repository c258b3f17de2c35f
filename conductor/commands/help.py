"""`conductor help [TOPIC]`: the manual's topics, or one of its pages, which are the package's `manual/*.md`."""

import sys

import click

from conductor.commands import candidates
from conductor.commands.variables import CommandLineOnly
from conductor.errors import UsageError
from conductor.output.streams import write_stdout


@click.command("help")
@click.argument("topic", required=False, shell_complete=candidates.topics)
@click.option(
    "--man", "as_man_page", cls=CommandLineOnly, is_flag=True, help="Print the man page conductor(8) and exit."
)
@click.pass_context
def command(context: click.Context, *, topic: str | None, as_man_page: bool) -> None:
    """Print a manual page, or list the topics."""
    known = pages()
    if as_man_page:
        from conductor.commands.man_page import man_page

        write_stdout(man_page(context.find_root().command, known), end="")
    elif topic is None:
        _show(_contents(known))
    elif topic in known:
        _show(known[topic])
    else:
        raise _unknown(topic, known, context)


def pages() -> dict[str, str]:
    """Return the text of each page by topic, in alphabetical order."""
    from importlib.resources import files

    found = files("conductor").joinpath("manual").iterdir()
    return {
        page.name.removesuffix(".md"): page.read_text("utf-8")
        for page in sorted(found, key=lambda page: page.name)
        if page.name.endswith(".md")
    }


def summary(page: str) -> str:
    """Return the page's summary, the line below its title."""
    return page.split("\n")[2]


def _contents(known: dict[str, str]) -> str:
    width = max(map(len, known))
    lines = [f"  {topic:{width}}  {summary(page)}" for topic, page in known.items()]
    foot = "Run conductor help TOPIC for a page, or conductor COMMAND --help for options."
    return "\n".join(["Manual topics:", "", *lines, "", foot, ""])


def _show(text: str) -> None:
    if sys.stdout.isatty():
        click.echo_via_pager(text)
    else:
        write_stdout(text, end="")


def _unknown(topic: str, known: dict[str, str], context: click.Context) -> UsageError:
    from conductor.definitions.problems import nearest

    root = context.find_root()
    if isinstance(root.command, click.Group) and topic in root.command.list_commands(root):
        hint = f"run conductor {topic} --help for the command, or conductor help to list the topics"
    else:
        near = nearest(topic, known)
        hint = f"run conductor help {near}" if near else "run conductor help to list the topics"
    return UsageError(f'cannot find topic "{topic}": the manual has {", ".join(known)}', hint)
