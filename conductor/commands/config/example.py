"""`conductor config example`."""

import click

from conductor.output.streams import answer


@click.command("example")
def command() -> None:
    """Print an annotated example that has every key."""
    from importlib.resources import files

    answer(files("conductor").joinpath("templates/services.example.yml").read_text("utf-8"), end="")
