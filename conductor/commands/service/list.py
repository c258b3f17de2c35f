"""`conductor service list`: one line a service."""

from pathlib import Path

import click

from conductor.commands.options import config_option, json_option


@click.command("list")
@config_option
@json_option
def command(*, config: Path, as_json: bool) -> None:
    """Show every service: what is wanted, what runs, and whether it is healthy now."""
    from conductor.commands.context import open_context
    from conductor.output.printers import Silent
    from conductor.output.streams import answer
    from conductor.output.tables import as_document, as_table
    from conductor.snapshot.services import look

    definitions, context = open_context(config, "service list", Silent())
    rows = look(definitions, context)
    if as_json:
        answer(as_document(rows))
        return
    table = [("SERVICE", "REVISION", "RUNNING", "STATE")]
    table += [(row.service, row.revision or "-", f"{row.running}/{row.count}", row.summary) for row in rows]
    answer(as_table(table))
