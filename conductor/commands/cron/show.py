"""`conductor cron show`: the crontab on stdout, its differences from the installed file on stderr."""

import difflib
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conductor.commands.action import run_action
from conductor.commands.options import config_option, id_option, json_option, revision_option

if TYPE_CHECKING:
    from conductor.change.context import Context
    from conductor.definitions.load import Definitions
    from conductor.output.events import Finished


@click.command("show")
@config_option
@id_option
@revision_option
@json_option
def command(*, config: Path, service: str, revision: str | None, as_json: bool) -> int:
    """Generate the crontab and compare it with the installed one.

    This command installs nothing.
    """

    def action(definitions: "Definitions", context: "Context") -> "Finished":
        from conductor.change.crontab import generate_for, wrapped
        from conductor.output.events import Finished
        from conductor.output.streams import write_stdout
        from conductor.output.tables import as_document

        began = context.clock.monotonic()
        text = wrapped(context, generate_for(context, definitions, service, revision)) or ""
        installed, path = context.crontabs.read(service) or "", str(context.crontabs.path(service))
        if as_json:
            write_stdout(as_document({"version": 1, "path": path, "wanted": text, "installed": installed}))
        else:
            write_stdout(text, end="")
        lines = difflib.unified_diff(installed.splitlines(), text.splitlines(), path, "generated", n=0, lineterm="")
        difference = "\n".join(lines) or f"{path} is up to date"
        return Finished(text=difference, seconds=context.clock.monotonic() - began)

    return run_action(config, f"cron show --id {service}", action, as_json=False)  # stdout has the document
