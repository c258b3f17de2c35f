"""`conductor help [TOPIC]`: the manual's topics, or one of its pages, which are the package's `manual/*.md`."""

import sys

import click

from conductor.errors import UsageError
from conductor.output.streams import write_stdout


@click.command("help")
@click.argument("topic", required=False)
def command(*, topic: str | None) -> None:
    """Print a page of the manual, or list its topics."""
    known = pages()
    if topic is None:
        _show(_contents(known))
    elif topic in known:
        _show(known[topic])
    else:
        raise _unknown(topic, known)


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
    foot = "Run conductor help TOPIC to print a page, or conductor COMMAND --help for options."
    return "\n".join(["Topics of the manual:", "", *lines, "", foot, ""])


def _show(text: str) -> None:
    if sys.stdout.isatty():
        click.echo_via_pager(text)
    else:
        write_stdout(text, end="")


def _unknown(topic: str, known: dict[str, str]) -> UsageError:
    from conductor.definitions.problems import nearest

    near = nearest(topic, known)
    hint = f"run conductor help {near}" if near else "run conductor help to list the topics"
    return UsageError(f'cannot find topic "{topic}": the manual has {", ".join(known)}', hint)
