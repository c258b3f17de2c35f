"""`conductor nginx show`."""

from pathlib import Path

import click

from conductor.commands.action import query_context
from conductor.commands.options import config_option


@click.command("show")
@config_option
def command(*, config: Path) -> None:
    """Print the files that nginx install writes.

    Each file is marked as up to date or different.
    """
    from conductor.commands.nginx.routes import routes
    from conductor.output.streams import answer

    definitions, context = query_context(config, "nginx show")
    files = context.traffic.files(routes(definitions, context, definitions.ids))
    for file in (*files, *context.traffic.installed_files()):
        state = "up to date" if file.present == file.wanted else "differs: run conductor nginx install"
        answer(f"### {file.path} ({state})\n{file.wanted}")
