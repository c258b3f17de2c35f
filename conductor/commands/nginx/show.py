"""`conductor nginx show`: the files as human-readable text; with --check an exit code for scripts."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import query_context
from conductor.commands.options import config_option
from conductor.commands.variables import CommandLineOnly

if TYPE_CHECKING:
    from conductor.traffic.port import ManagedFile


@click.command("show")
@config_option
@click.option(
    "--check",
    cls=CommandLineOnly,
    is_flag=True,
    help="Print nothing; exit with code 1 if a file is missing or differs.",
)
def command(*, config: Path, check: bool) -> int:
    """Print the files that "nginx install" writes.

    The heading of each file says whether it is up to date, is missing, differs or was edited by hand.
    """
    from conductor.commands.nginx.routes import routes
    from conductor.output.streams import write_stdout
    from conductor.traffic.port import HOW_TO_KEEP

    definitions, context = query_context(config, "nginx show")
    included = context.traffic.files(routes(definitions, context, definitions.ids))
    files = (*included, *context.traffic.installed_files())
    if check:
        return int(any(file.present != file.wanted for file in files))
    edited = {context.traffic.edited(service) for service in definitions.ids}
    for file in files:
        state = "up to date" if file.present == file.wanted else f"{_problem(file)}: run conductor nginx install"
        if file.path in edited:
            state = f"edited by hand: conductor nginx install overwrites it; {HOW_TO_KEEP}"
        write_stdout(f"### {file.path} ({state})\n{file.wanted}")
    return 0


def _problem(file: "ManagedFile") -> str:
    return "missing" if file.present is None else "differs"
