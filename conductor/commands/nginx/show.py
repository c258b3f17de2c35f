"""`conductor nginx show`."""

from pathlib import Path

import click

from conductor.commands.action import query_context
from conductor.commands.options import config_option


@click.command("show")
@config_option
def command(*, config: Path) -> None:
    """Print the files that nginx includes.

    Each file is marked: up to date, or to be written by conductor nginx install.
    """
    from conductor.commands.nginx.routes import routes
    from conductor.output.streams import answer

    definitions, context = query_context(config, "nginx show")
    for file in context.traffic.files(routes(definitions, context, definitions.ids)):
        state = "up to date" if file.present == file.wanted else "differs: run conductor nginx install"
        answer(f"### {file.path} ({state})\n{file.wanted}")
