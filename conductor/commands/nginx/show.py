"""`conductor nginx show`: the files as text for people; with --check an exit code for scripts."""

from pathlib import Path

import click

from conductor.commands.action import query_context
from conductor.commands.options import config_option


@click.command("show")
@config_option
@click.option("--check", is_flag=True, help="Print nothing; exit with 1 if a file differs.")
def command(*, config: Path, check: bool) -> int:
    """Print the files that nginx install writes.

    Each file is marked as up to date or different.
    """
    from conductor.commands.nginx.routes import routes
    from conductor.output.streams import write_stdout

    definitions, context = query_context(config, "nginx show")
    included = context.traffic.files(routes(definitions, context, definitions.ids))
    files = (*included, *context.traffic.installed_files())
    if check:
        return int(any(file.present != file.wanted for file in files))
    for file in files:
        state = "up to date" if file.present == file.wanted else "differs: run conductor nginx install"
        write_stdout(f"### {file.path} ({state})\n{file.wanted}")
    return 0
