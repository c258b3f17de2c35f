"""`conductor config example`."""

import click

from conductor.output.streams import write_stdout


@click.command("example")
def command() -> None:
    """Print an annotated example with every key."""
    from importlib.resources import files

    write_stdout(files("conductor").joinpath("templates/services.example.yml").read_text("utf-8"), end="")
